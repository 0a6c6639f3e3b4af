/** How far one conversation was checked and read, by both: signed heads, the ticks they make, and what is remembered. */
import { DeviceEnded, HeadInvalid, UnknownDevice } from '../crypto/errors'
import { createHead, openHead } from '../crypto/head'
import type { LogPosition } from '../crypto/log'
import { positionOf } from '../crypto/vault'
import type { Clock } from '../net/clock'
import type { Ask } from '../net/socket'
import type { Database, StoredKeys } from '../store/database'
import { advancePosition, loadPosition } from '../store/positions'
import { type Bytes, type Random, uuidToBytes } from '../wire/bytes'
import type { Side } from '../wire/objects'
import { CheckFailed } from './alarms'
import type { CheckedLog } from './checked_log'
import type { Epochs } from './epochs'
import type { Members } from './members'
import type { VaultKeeper } from './vault_keeper'

const HEAD_EVERY_MS = 1_000

export interface ReceiptTools {
  readonly ask: Ask
  readonly clock: Clock
  readonly random: Random
  readonly keys: StoredKeys
  readonly database: Database
  readonly vault: VaultKeeper
  readonly conversation: string
  /** One's own. */
  readonly side: Side
  readonly members: Members
  readonly epochs: Epochs
  readonly log: CheckedLog
  readonly isAlarmed: () => boolean
  /** Whether what is here now may be signed and sent. */
  readonly mayConfirm: () => boolean
  /** Carries it out in its turn, and sees to what goes wrong. */
  readonly attempt: (task: () => Promise<void>) => Promise<void>
  readonly onProblem: (error: unknown) => void
}

export class Receipts {
  readonly #conversation: Bytes
  readonly #heads: [Bytes | null, Bytes | null] = [null, null]
  #readN = 0
  #earlierThanVisit: number | null = null
  #deliveredN = 0
  #peerReadN = 0
  #signedN = 0
  #signedReadN = 0
  #dueAt: number | null = null
  #lastAt = 0

  constructor(private readonly tools: ReceiptTools) {
    this.#conversation = uuidToBytes(tools.conversation)
  }

  /** The newest signed head of each side. */
  get heads(): readonly [Bytes | null, Bytes | null] {
    return this.#heads
  }
  get readN(): number {
    return this.#readN
  }
  /** Up to here the messages are from before this visit. */
  get earlierThanVisit(): number {
    return this.#earlierThanVisit ?? 0
  }
  get deliveredN(): number {
    return this.#deliveredN
  }
  /** Up to here the friend has read; 0 when one of the two does not share it. */
  get peerReadN(): number {
    return this.#sharesRead ? this.#peerReadN : 0
  }

  get #sharesRead(): boolean {
    const { vault } = this.tools
    return vault.isLoaded && vault.content.preferences.sharesRead
  }

  /** The places that this browser and the vault remember. */
  async remembered(): Promise<LogPosition[]> {
    const { database, conversation, vault } = this.tools
    const stored = [
      await loadPosition(database, conversation),
      positionOf(vault.content, this.#conversation),
    ].filter((position) => position !== undefined)
    this.#readN = Math.max(this.#readN, ...stored.map(({ readN }) => readN))
    return stored.map(({ checkedN, logHash }) => ({ n: checkedN, hash: logHash }))
  }

  /** What was read until now is from before this visit. */
  beginVisit(): void {
    this.#earlierThanVisit ??= this.#readN
  }

  /** Returns whether that is new. */
  markRead(n: number): boolean {
    if (n <= this.#readN) return false
    this.#readN = n
    void this.keepPosition()
    if (this.#sharesRead) this.schedule()
    return true
  }

  async keepPosition(): Promise<void> {
    const { isAlarmed, log, vault, database, conversation, onProblem } = this.tools
    if (isAlarmed()) return
    const { n, hash } = log.checked
    const position = { checkedN: n, logHash: hash, readN: this.#readN }
    vault.notePosition({ conversation: this.#conversation, ...position })
    await advancePosition(database, { conversation, ...position }).catch(onProblem)
  }

  /** A signed head of either side: it must be of the log that is seen here, and it is the second tick. */
  async accept(side: Side, bytes: Bytes): Promise<void> {
    const { members, epochs, log, vault } = this.tools
    const open = (): ReturnType<typeof openHead> =>
      openHead(bytes, {
        conversation: this.#conversation,
        chain: members.chains[side],
        side,
        epochs: epochs.known,
      })
    let head: Awaited<ReturnType<typeof openHead>>
    try {
      head = await open()
    } catch (error) {
      if (error instanceof DeviceEnded) throw new HeadInvalid()
      if (!(error instanceof UnknownDevice)) throw error
      await members.refresh()
      head = await open()
    }
    if (head.epoch > epochs.known.size) {
      await epochs.fetch()
      head = await open()
    }
    if (head.n > log.end.n) await log.catchUp()
    if (head.n > log.end.n) throw new CheckFailed('head_ahead')
    log.claim(head)
    this.#heads[side] = bytes
    if (side === this.tools.side) {
      await vault.requireSeen(head.vaultVersion)
      this.#noteOwn(head.n, head.readN ?? 0)
    } else {
      this.#deliveredN = Math.max(this.#deliveredN, head.n)
      this.#peerReadN = Math.max(this.#peerReadN, Math.min(head.readN ?? 0, head.n))
      if (head.n >= log.start.n) log.confirmed(head.n)
    }
  }

  /** Another browser of this person has checked and read so far; its head stands at the server now. */
  #noteOwn(n: number, readN: number): void {
    if (n < this.#signedN) return
    this.#signedN = n
    this.#signedReadN = readN
    if (readN > this.#readN) {
      this.#readN = Math.min(readN, this.tools.log.end.n)
      void this.keepPosition()
    } else if (readN < this.#readN) this.schedule()
  }

  /** At most one head a second: what arrived in between is confirmed with the last. */
  schedule(): void {
    if (this.#dueAt !== null) return
    const { clock, attempt } = this.tools
    const now = clock.now()
    this.#dueAt = Math.max(now, this.#lastAt + HEAD_EVERY_MS)
    clock.after(this.#dueAt - now, () => {
      this.#dueAt = null
      void attempt(() => this.#send())
    })
  }

  async #send(): Promise<void> {
    const { keys, vault, ask, random, clock, conversation, side, epochs } = this.tools
    if (!this.tools.mayConfirm()) return
    const log = this.tools.log.checked
    const readN = this.#sharesRead ? Math.min(this.#readN, log.n) : 0
    if (log.n < this.#signedN || (log.n === this.#signedN && readN <= this.#signedReadN)) return
    const epoch = epochs.newest
    // Who started fresh cannot read the epoch, and says nothing until there is the next.
    if (epoch?.secret == null) return
    this.#lastAt = clock.now()
    const head = await createHead({
      conversation: this.#conversation,
      log,
      vaultVersion: vault.version,
      device: keys.device,
      epoch,
      readN,
      random,
    })
    await ask({ type: 'head.set', conversation, head })
    this.#heads[side] = head
    this.#noteOwn(log.n, readN)
  }
}
