/**
 * One conversation in this browser: what is shown of it, what is being sent, and what went wrong.
 *
 * Everything that touches the log happens in one order, the order of arrival (`#inOrder`), so that a page of history,
 * a pushed row and an answer cannot overtake one another. What is lost with a connection is fetched after the next one.
 * The parts: who the two are (`members.ts`), the keys (`epochs.ts`), the rows (`checked_log.ts`), how far both have come
 * (`receipts.ts`) and what waits (`sender.ts`).
 */
import { sealEnvelope } from '../crypto/envelope'
import type { ChainIdentity } from '../crypto/key_chain'
import type { WriterState } from '../crypto/writer_chain'
import { ApiUnreachable } from '../net/api'
import { RetryLater } from '../net/backoff'
import type { Clock } from '../net/clock'
import { type Ask, ConnectionLost, Refused } from '../net/socket'
import type { Database, StoredKeys } from '../store/database'
import { type Bytes, type Random, uuidToBytes } from '../wire/bytes'
import type { Row, Summary } from '../wire/frames'
import type { Side } from '../wire/objects'
import { type AlarmCode, alarmCodeOf, CheckFailed } from './alarms'
import { CheckedLog } from './checked_log'
import type { Disclosed } from './disclosure'
import { Epochs } from './epochs'
import { Lateness } from './lateness'
import { Members, type Trust } from './members'
import type { Outbox, Outgoing } from './outbox'
import type { OwnChain } from './people'
import { proofText } from './proof'
import { Receipts } from './receipts'
import { type HaltReason, type Sealed, Sender } from './sender'
import type { Entry } from './timeline'
import type { VaultKeeper } from './vault_keeper'

export type { Trust } from './members'

export interface ConversationTools {
  readonly ask: Ask
  readonly isConnected: () => boolean
  readonly clock: Clock
  readonly random: Random
  /** From 0 up to, not including, 1. */
  readonly jitter: () => number
  readonly keys: StoredKeys
  readonly database: Database
  readonly vault: VaultKeeper
  readonly own: OwnChain
  readonly outbox: Outbox
  readonly onChange: () => void
  /** New rows at the end; `pushed` when they came by themselves, not with an older history. */
  readonly onArrived: (entries: readonly Entry[], pushed: boolean) => void
  readonly onProblem: (error: unknown) => void
}

/** Somebody began anew with another identity; `afterN` is the last message before that. */
export interface Restart {
  readonly side: Side
  /** Milliseconds since 1970, by the clock of whoever did. */
  readonly at: number
  readonly afterN: number
}

export interface History {
  /** Messages whose place in the log was checked on this page. */
  readonly checked: number
  readonly total: number
  /** Up to which message the friend's browser has confirmed the same. */
  readonly confirmed: number
}

export type Phase = 'closed' | 'opening' | 'ready' | 'no_peer_keys'

export class Conversation {
  readonly id: string
  readonly sender: Sender
  readonly #members: Members
  readonly #epochs: Epochs
  readonly #log: CheckedLog
  readonly #receipts: Receipts
  readonly #lateness: Lateness
  #summary: Summary
  #phase: Phase = 'closed'
  #wanted = false
  #alarm: AlarmCode | null = null
  #halted: HaltReason | null = null
  #loadingEarlier: Promise<void> | null = null
  /** The next try to fetch what the server could not give. */
  readonly #syncLater: RetryLater
  #work: Promise<unknown> = Promise.resolve()

  constructor(
    summary: Summary,
    private readonly tools: ConversationTools,
  ) {
    const { conversation, side } = summary
    const { clock, onChange } = tools
    this.id = conversation
    this.#summary = summary
    this.#syncLater = new RetryLater(tools, () => void this.sync())
    const isAlarmed = (): boolean => this.#alarm !== null
    const canSend = (): boolean => this.canSend
    const shared = { ...tools, conversation, side, isAlarmed, canSend }
    const members = new Members({ ...shared, name: foldedName(summary) })
    const epochs = new Epochs({ ...shared, members, log: () => this.#log })
    const log = new CheckedLog({
      ...shared,
      members,
      epochs,
      raise: (code) => {
        this.#raise(code)
      },
      onRow: (row) => {
        this.#noteActivity(row)
      },
      onAppended: (entries, pushed) => this.#settle(entries, pushed),
    })
    this.#members = members
    this.#epochs = epochs
    this.#log = log
    this.#receipts = new Receipts({
      ...shared,
      members,
      epochs,
      log,
      mayConfirm: () => this.#isSound && this.isOpen && tools.isConnected(),
      attempt: (task) => this.#attempt(task),
    })
    this.#lateness = new Lateness({ clock, onChange, deliveredN: () => this.deliveredN })
    this.#lateness.noteOnline(summary.online)
    this.sender = new Sender({
      ...shared,
      onProblem: (error) => {
        this.#failed(error)
      },
      lastN: () => (this.#log.isLoaded ? this.#log.end.n : 0),
      seal: (item, writer) => this.#inOrder(() => this.#seal(item, writer)),
      onStored: (stored) => this.#attempt(() => this.#takeStored({ ...stored, side })),
      fetchEpochs: () => this.#inOrder(() => epochs.fetch()),
      requireInLog: (clientId, n) => this.#inOrder(() => this.#requireInLog(clientId, n)),
      onHalt: (reason) => {
        this.#halt(reason)
      },
    })
  }

  get summary(): Summary {
    return this.#summary
  }
  get side(): Side {
    return this.#summary.side
  }
  get phase(): Phase {
    return this.#phase
  }
  get entries(): readonly Entry[] {
    return this.#log.entries
  }
  get alarm(): AlarmCode | null {
    return this.#alarm
  }
  /** When the server is asked again for what it could not give; null when nothing is missing. */
  get retryAt(): number | null {
    return this.#syncLater.at
  }
  get mustSignIn(): boolean {
    return this.#halted === 'sign_in'
  }
  get deliveredN(): number {
    return this.#receipts.deliveredN
  }
  get readN(): number {
    return this.#receipts.readN
  }
  /** Up to here the messages are from before this visit. */
  get earlierThanVisit(): number {
    return this.#receipts.earlierThanVisit
  }
  /** Up to here the friend has read; 0 when one of the two does not share it. */
  get peerReadN(): number {
    return this.#receipts.peerReadN
  }
  /** Since when the friend is online without their browser confirming one's own newest message; null when all is well. */
  get lateSince(): number | null {
    return this.#lateness.since
  }
  get hasEarlier(): boolean {
    return this.#log.isLoaded && this.#log.start.n > 0
  }
  get isLoadingEarlier(): boolean {
    return this.#loadingEarlier !== null
  }
  get isOpen(): boolean {
    return this.#summary.open
  }
  /** Whether the log is here, and as it must be. */
  get #isSound(): boolean {
    return this.#phase === 'ready' && this.#alarm === null
  }
  get canSend(): boolean {
    return (
      this.#isSound &&
      this.#halted === null &&
      this.isOpen &&
      this.#members.mayBeWrittenTo &&
      this.tools.isConnected()
    )
  }

  get trust(): Trust {
    return this.#members.trust
  }
  /** When safety numbers were compared, in milliseconds since 1970; 0 for never. */
  get verifiedAt(): number {
    return this.#members.verifiedAt
  }
  get isVerified(): boolean {
    return this.#members.isVerified
  }
  /** So many messages wait for `sendWaiting`, because the friend began anew. */
  get heldMessages(): number {
    const { held } = this.#members
    return held === 0 ? 0 : Math.max(held, this.sender.waiting.length)
  }
  /** What the own QR code says; null until both chains are here. */
  get safetyCode(): string | null {
    return this.#members.safetyCode
  }
  get restarts(): readonly Restart[] {
    if (!this.#members.areKnown || !this.#log.isLoaded) return []
    const { chains } = this.#members
    return ([0, 1] as const).flatMap((side) =>
      chains[side].identities.slice(1).map((identity) => this.#restart(side, identity)),
    )
  }
  get history(): History {
    if (!this.#log.isLoaded) return { checked: 0, total: this.#summary.lastN, confirmed: 0 }
    const { start, end } = this.#log
    const total = Math.max(end.n, this.#summary.lastN)
    return { checked: end.n - start.n, total, confirmed: Math.min(this.deliveredN, total) }
  }

  /** Messages of the friend that were not read yet. Before the log is here, an upper bound from the server's number. */
  get unread(): number {
    if (!this.#log.isLoaded) return 0
    const unloaded = Math.max(0, this.#log.start.n - this.readN)
    const loaded = this.entries.filter((entry) => entry.side !== this.side && entry.n > this.readN)
    return unloaded + loaded.filter(({ shown }) => shown.kind !== 'repeat' && shown.kind !== 'lost').length
  }

  // What the page asks for

  /** Fetches and checks the log, now and after every reconnect. */
  async open(): Promise<void> {
    if (this.#wanted) return
    this.#wanted = true
    await this.sync()
  }

  /** Once more from the last place that was trusted: what the server answers now decides. */
  askAgain(): void {
    this.#wanted = true
    void this.#attempt(async () => {
      this.#forget()
      await this.#sync()
    }).then(() => {
      this.sender.wake()
    })
  }

  /** The connection is there: fetch what was missed, and go on sending. */
  sync(): Promise<void> {
    if (!this.#wanted) return Promise.resolve()
    return this.#attempt(async () => {
      await this.#sync()
      this.#syncLater.succeeded()
    }).then(() => {
      this.sender.wake()
    })
  }

  /** The person does not want to wait for the next try. */
  retryNow(): void {
    this.#syncLater.now()
    this.sender.retryNow()
  }

  loadEarlier(): Promise<void> {
    if (!this.hasEarlier) return Promise.resolve()
    this.#loadingEarlier ??= this.#attempt(() => this.#log.prependPage()).finally(() => {
      this.#loadingEarlier = null
      this.tools.onChange()
    })
    this.tools.onChange()
    return this.#loadingEarlier
  }

  markRead(): void {
    if (this.#log.isLoaded && this.#receipts.markRead(this.#log.end.n)) this.tools.onChange()
  }

  // Who the friend is

  /** 60 digits, the same for both. */
  safetyNumber(): Promise<string> {
    return this.#members.safetyNumber()
  }

  /** What a scanned code of the friend's screen says. */
  compareCode(text: string): 'fits' | 'differs' | 'no_code' {
    return this.#members.compareCode(text)
  }

  theyMatch(): Promise<void> {
    const compared = this.safetyCode
    return this.#decide(() => this.#members.confirm(compared))
  }

  /** Nothing is sent until `clearMismatch` or `theyMatch`. */
  theyDoNotMatch(): Promise<void> {
    return this.#decide(() => this.#members.setMismatch(true))
  }

  clearMismatch(): Promise<void> {
    return this.#decide(() => this.#members.setMismatch(false))
  }

  unverify(): Promise<void> {
    return this.#decide(() => this.#members.unverify())
  }

  /** Takes the other identity without a comparison. */
  sendAnywayOnce(): Promise<void> {
    return this.#decide(() => this.#members.accept())
  }

  sendWaiting(): Promise<void> {
    return this.#decide(() => this.#members.accept())
  }

  async #decide(act: () => Promise<void>): Promise<void> {
    await this.#attempt(act)
    this.sender.wake()
  }

  #restart(side: Side, { at, seq }: ChainIdentity): Restart {
    const after = [...this.#epochs.known.values()].find(({ members }) => members[side].seq >= seq)
    return { side, at, afterN: after?.logN ?? this.#log.end.n }
  }

  // The whole history

  /** Fetches and checks every page down to the first message. */
  async checkAll(): Promise<void> {
    for (let start = this.#startN(); start > 0;) {
      await this.loadEarlier()
      const reached = this.#startN()
      if (reached >= start) return
      start = reached
    }
  }

  #startN(): number {
    return this.#log.isLoaded ? this.#log.start.n : 0
  }

  /** The text of a proof file (docs/protocol.md, section 11). Throws `CheckFailed` where not all could be checked. */
  async exportProof(): Promise<string> {
    await this.checkAll()
    return this.#inOrder(async () => {
      await this.#members.refresh()
      if (this.#log.start.n > 0 || this.#alarm !== null) throw new CheckFailed('history_gap')
      return proofText({
        ask: this.tools.ask,
        conversation: this.id,
        side: this.side,
        chains: this.#members.chains,
        heads: this.#receipts.heads,
        hashes: this.entries.map(({ hash }) => hash),
        now: this.tools.clock.now(),
      })
    })
  }

  /** Opens these messages of the friend once more, for a report. Throws `CheckFailed` for others. */
  async disclose(numbers: readonly number[]): Promise<readonly Disclosed[]> {
    const { disclosed } = await import('./disclosure')
    return this.#inOrder(() =>
      disclosed({ ask: this.tools.ask, conversation: this.id, side: this.side, log: this.#log }, numbers),
    )
  }

  // What the server says

  onSummary(summary: Summary): void {
    const before = this.#summary
    // The keys stay those of the first name, so the name on the screen does as well.
    if (foldedName(summary) !== foldedName(before) || summary.side !== before.side) {
      this.#raise('renamed')
      return
    }
    const reopened = (summary.open && !before.open) || (summary.peerHasKeys && !before.peerHasKeys)
    // Rows that were pushed meanwhile may be newer than the answer.
    const { last, lastN, activeAt } = before.lastN > summary.lastN ? before : summary
    this.#summary = { ...summary, last, lastN, activeAt }
    this.#lateness.noteOnline(summary.online)
    if (reopened && this.#halted !== 'sign_in') this.#halted = null
    if (!summary.open) void this.sender.failAll('You can no longer send messages in this conversation.')
    void this.sync()
  }

  onPresence(online: boolean | null): void {
    this.#summary = { ...this.#summary, online }
    this.#lateness.noteOnline(online)
  }

  onConnectionLost(): void {
    this.#members.connectionLost()
    this.#syncLater.callOff()
    this.sender.connectionLost()
  }

  onRow(row: Row): void {
    this.#noteActivity(row)
    void this.#attempt(() => this.#take(row, true))
  }

  onHead(side: Side, head: Bytes): void {
    void this.#attempt(() => this.#acceptHead(side, head))
  }

  onEpoch(record: Bytes): void {
    void this.#attempt(async () => {
      if (this.#phase !== 'ready') return
      await this.#epochs.take(record)
      const { newest } = this.#epochs
      if (newest === null) return
      if (newest.logN > this.#log.end.n) await this.#log.catchUp()
      this.#log.claim({ n: newest.logN, hash: newest.logHash })
    })
  }

  onKeysChanged(): void {
    if (!this.#summary.peerHasKeys) this.onSummary({ ...this.#summary, peerHasKeys: true })
    else
      void this.#attempt(async () => {
        if (this.#phase === 'ready') await this.#members.refreshFriend()
      }).then(() => {
        this.sender.wake()
      })
  }

  // Order, and what goes wrong

  #inOrder<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#work.then(task)
    this.#work = done.catch(() => undefined)
    return done
  }

  /** Never rejects: what failed is shown, or tried again later. */
  async #attempt(task: () => Promise<void>): Promise<void> {
    try {
      await this.#inOrder(task)
    } catch (error) {
      this.#failed(error)
    } finally {
      this.tools.onChange()
    }
  }

  #failed(error: unknown): void {
    const code = alarmCodeOf(error)
    if (code !== null) this.#raise(code)
    else if (error instanceof Refused && error.code === 'peer_has_no_keys')
      this.onSummary({ ...this.#summary, peerHasKeys: false })
    else if (error instanceof Refused || error instanceof ApiUnreachable) this.#syncLater.failed()
    else if (!(error instanceof ConnectionLost)) this.tools.onProblem(error)
  }

  #raise(code: AlarmCode): void {
    this.#alarm ??= code
    this.sender.doubt()
    this.tools.onChange()
  }

  #halt(reason: HaltReason): void {
    this.#halted = reason
    if (reason === 'closed') this.onSummary({ ...this.#summary, open: false })
    this.tools.onChange()
  }

  #forget(): void {
    this.#alarm = null
    this.#phase = 'closed'
    this.#log.forget()
    this.#epochs.forget()
    this.#members.forget()
  }

  // Opening

  async #sync(): Promise<void> {
    if (!this.tools.isConnected() || this.#alarm !== null) return
    if (!this.#summary.peerHasKeys) {
      // What was checked before the account went stays to be read.
      if (this.#phase !== 'ready') this.#phase = 'no_peer_keys'
      return
    }
    if (this.#phase === 'ready') {
      await this.#members.requireCurrent()
      if (this.#summary.epoch > this.#epochs.known.size) await this.#epochs.fetch()
      await this.#log.catchUp()
    } else await this.#openAll()
    await this.#requireStored()
    for (const side of [0, 1] as const) {
      const head = this.#summary.heads[side]
      if (head !== null) await this.#acceptHead(side, head)
    }
    this.#receipts.schedule()
  }

  async #openAll(): Promise<void> {
    this.#phase = 'opening'
    this.tools.onChange()
    await this.#members.load()
    this.#epochs.forget()
    await this.#epochs.fetch()
    await this.#log.load(await this.#receipts.remembered())
    this.#receipts.beginVisit()
    for (const { logN, logHash } of this.#epochs.known.values()) this.#log.claim({ n: logN, hash: logHash })
    this.#phase = 'ready'
  }

  // What comes into the log

  async #take(row: Row, pushed = false): Promise<void> {
    if (this.#phase === 'ready') await this.#log.take(row, pushed)
  }

  async #acceptHead(side: Side, head: Bytes): Promise<void> {
    if (this.#phase === 'ready') await this.#receipts.accept(side, head)
  }

  async #settle(arrived: readonly Entry[], pushed: boolean): Promise<void> {
    // First what proves that they were here, should the server deny it; then they leave the outbox.
    await this.#receipts.keepPosition()
    const own = arrived.filter((entry) => this.#isOwn(entry)).map(({ clientId }) => clientId)
    await this.sender.confirmed(new Set(own))
    this.#receipts.schedule()
    const newestOwn = arrived.findLast((entry) => entry.side === this.side)
    if (newestOwn !== undefined) this.#lateness.noteOwn(newestOwn.n)
    await this.#members.lookAtDecisions()
    this.tools.onChange()
    this.tools.onArrived(arrived, pushed)
  }

  #isOwn({ side, epoch }: Entry): boolean {
    return side === this.side && epoch !== null
  }

  #noteActivity(row: Row): void {
    if (row.n <= this.#summary.lastN) return
    this.#summary = {
      ...this.#summary,
      last: row,
      lastN: row.n,
      activeAt: Math.max(this.#summary.activeAt, row.storedAt),
    }
  }

  // Sending

  async #seal(item: Outgoing, writer: WriterState): Promise<Sealed | null> {
    await this.#members.requireCurrent()
    await this.#members.look()
    if (!this.canSend) return null
    const epoch = await this.#epochs.forSending()
    if (epoch === null) return null
    const { keys, random, vault } = this.tools
    const sealed = await sealEnvelope({
      epoch,
      side: this.side,
      chains: this.#members.chains,
      device: keys.device,
      clientId: uuidToBytes(item.clientId),
      writer,
      log: this.#log.checked,
      vaultVersion: vault.version,
      content: item.content,
      random,
    })
    return { envelope: sealed.envelope, epoch: epoch.epoch, writer: sealed.writer }
  }

  /** The answer to what this tab sent; its row may have been pushed before. */
  async #takeStored(row: Row): Promise<void> {
    await this.#take(row)
    await this.#requireInLog(row.clientId, row.n)
  }

  /** What the server said it had stored, before a connection was lost. */
  async #requireStored(): Promise<void> {
    for (const { clientId, storedN } of this.sender.items)
      if (storedN !== null) await this.#requireInLog(clientId, storedN)
  }

  /** A message of this tab is sent when it is in the log, whatever the server says. */
  async #requireInLog(clientId: string, n: number): Promise<void> {
    if (!this.#isSound) return
    const log = this.#log
    if (n > log.end.n) await log.catchUp()
    while (n <= log.start.n) await log.prependPage()
    const entry = log.entryAt(n)
    if (entry?.clientId !== clientId || !this.#isOwn(entry)) throw new CheckFailed('history_gap')
    await this.sender.confirmed(new Set([clientId]))
  }
}

function foldedName({ peer }: Summary): string {
  return peer.toLowerCase()
}
