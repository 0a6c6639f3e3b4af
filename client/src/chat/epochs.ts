/** The epochs of one conversation: fetched, checked, and made where none serves any more. */
import { createEpoch, epochIsStale, openEpoch, type OpenedEpoch } from '../crypto/epoch'
import { ChainBehind, NoAccountKey, UnknownDevice } from '../crypto/errors'
import { type Ask, Refused } from '../net/socket'
import type { StoredKeys } from '../store/database'
import { type Bytes, type Random, uuidToBytes } from '../wire/bytes'
import type { Side } from '../wire/objects'
import { alarmCodeOf, CheckFailed } from './alarms'
import type { CheckedLog } from './checked_log'
import type { Members } from './members'
import type { VaultKeeper } from './vault_keeper'

const EPOCH_MESSAGES = 10_000
/** So often an epoch is made for one message before the server is taken for lying. */
const EPOCH_ROUNDS = 6
const EPOCH_MS = 30 * 24 * 3600 * 1000

export interface EpochTools {
  readonly ask: Ask
  readonly random: Random
  readonly keys: StoredKeys
  readonly vault: VaultKeeper
  readonly conversation: string
  /** One's own. */
  readonly side: Side
  readonly members: Members
  readonly log: () => CheckedLog
  readonly canSend: () => boolean
}

export class Epochs {
  #known: ReadonlyMap<number, OpenedEpoch> = new Map()
  readonly #conversation: Bytes

  constructor(private readonly tools: EpochTools) {
    this.#conversation = uuidToBytes(tools.conversation)
  }

  get known(): ReadonlyMap<number, OpenedEpoch> {
    return this.#known
  }

  get newest(): OpenedEpoch | null {
    return this.#known.get(this.#known.size) ?? null
  }

  forget(): void {
    this.#known = new Map()
  }

  async fetch(): Promise<void> {
    const { ask, conversation } = this.tools
    for (;;) {
      const page = await ask({ type: 'epochs.get', conversation, after: this.#known.size })
      for (const record of page.records) await this.#accept(record)
      if (!page.more || page.records.length === 0) return
    }
  }

  /** One that was pushed: it may be one that is known, or not the next; the whole list tells. */
  async take(record: Bytes): Promise<void> {
    try {
      await this.#accept(record)
    } catch (error) {
      if (alarmCodeOf(error) !== 'epoch_invalid') throw error
      await this.fetch()
    }
  }

  async #accept(record: Bytes): Promise<void> {
    const { side, members, vault, log } = this.tools
    const open = (): Promise<OpenedEpoch> =>
      openEpoch(record, {
        conversation: this.#conversation,
        previous: this.newest,
        side,
        chains: members.chains,
        accountKeys: vault.content.accountKeys,
        knownHash: (n) => log().hashAt(n),
      })
    let epoch: OpenedEpoch
    try {
      epoch = await open()
    } catch (error) {
      if (error instanceof UnknownDevice || error instanceof ChainBehind) await members.refresh()
      else if (error instanceof NoAccountKey) await vault.load()
      else throw error
      epoch = await this.#openWithNewKeys(open)
    }
    this.#add(epoch)
  }

  /** After a newer chain was fetched, the account key that it names may be in a newer vault. */
  async #openWithNewKeys(open: () => Promise<OpenedEpoch>): Promise<OpenedEpoch> {
    try {
      return await open()
    } catch (error) {
      if (!(error instanceof NoAccountKey)) throw error
      await this.tools.vault.load()
      return open()
    }
  }

  #add(epoch: OpenedEpoch): void {
    this.#known = new Map([...this.#known, [epoch.epoch, epoch]])
  }

  /** The epoch to seal under; a new one where there is none, where keys have changed, or where it has served its time. */
  async forSending(): Promise<OpenedEpoch | null> {
    for (let round = 1; this.#needsNext(); round += 1) {
      if (round > EPOCH_ROUNDS) throw new CheckFailed('epoch_missing')
      await this.#makeNext()
      if (!this.tools.canSend()) return null
    }
    return this.newest
  }

  /** Appends the next epoch, or takes the one of whoever was faster. */
  async #makeNext(): Promise<void> {
    const { ask, random, keys, conversation, members, canSend } = this.tools
    const log = this.tools.log()
    await members.refresh()
    await this.fetch()
    // The record names these places and no later ones: what an ended device said before is then in the log.
    const { chains } = members
    const previous = this.newest
    await log.catchUp()
    // The log may bring an epoch that names later places: the next round follows that one.
    if (!canSend() || !this.#needsNext() || this.newest !== previous) return
    const { record, epoch } = await createEpoch({
      conversation: this.#conversation,
      previous,
      chains,
      log: log.checked,
      device: keys.device,
      random,
    })
    try {
      await ask({ type: 'epoch.append', conversation, epoch: epoch.epoch, record })
      this.#add(epoch)
    } catch (error) {
      if (!(error instanceof Refused && error.code === 'epoch_conflict')) throw error
      await this.fetch()
    }
  }

  #needsNext(): boolean {
    const { newest } = this
    return newest === null || newest.secret === null || this.#isWornOut(newest)
  }

  #isWornOut(epoch: OpenedEpoch): boolean {
    const { entries, end } = this.tools.log()
    if (epochIsStale(epoch, this.tools.members.chains)) return true
    if (end.n - epoch.logN >= EPOCH_MESSAGES) return true
    const ofEpoch = entries.filter((entry) => entry.epoch === epoch.epoch)
    const [first] = ofEpoch
    const last = ofEpoch.at(-1)
    return first !== undefined && last !== undefined && last.storedAt - first.storedAt > EPOCH_MS
  }
}
