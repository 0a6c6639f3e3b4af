/**
 * One conversation in this browser: its checked log, its epochs, what is being sent, and what went wrong.
 *
 * Everything that touches the log happens in one order, the order of arrival (`#inOrder`), so that a page of history,
 * a pushed row and an answer cannot overtake one another. What is lost with a connection is fetched after the next one.
 */
import { openEnvelope, sealEnvelope, type OpenedEnvelope } from '../crypto/envelope'
import { createEpoch, epochIsStale, openEpoch, type OpenedEpoch } from '../crypto/epoch'
import { ChainBehind, LogMismatch, UnknownContent, UnknownDevice, UnknownEpoch } from '../crypto/errors'
import { createHead, openHead } from '../crypto/head'
import type { Chains, VerifiedChain } from '../crypto/key_chain'
import { checkLogHash, envelopeHash, type LogPosition, logStart } from '../crypto/log'
import { checkVaultVersion, positionOf } from '../crypto/vault'
import type { WriterState } from '../crypto/writer_chain'
import type { Clock } from '../net/clock'
import { type Ask, ConnectionLost, Refused } from '../net/socket'
import type { Database, StoredKeys } from '../store/database'
import { advancePosition, loadPosition } from '../store/positions'
import { type Bytes, equal, type Random, uuidToBytes } from '../wire/bytes'
import type { Row, ServerFrameOf, Summary } from '../wire/frames'
import { decodeEnvelope, type Side } from '../wire/objects'
import { type AlarmCode, alarmCodeOf, alarmText, CheckFailed } from './alarms'
import type { Outbox, Outgoing } from './outbox'
import { fetchPeerChain, type OwnChain } from './people'
import { type HaltReason, type Sealed, Sender } from './sender'
import {
  appendRow,
  emptyTimeline,
  endOf,
  type Entry,
  entryAt,
  hashAt,
  joinTimelines,
  type OpenedRow,
  type Timeline,
  withClaim,
} from './timeline'
import type { VaultKeeper } from './vault_keeper'

const PAGE_ROWS = 50
const HEAD_EVERY_MS = 1_000
const TRY_AGAIN_MS = 5_000
const EPOCH_MESSAGES = 10_000
const EPOCH_MS = 30 * 24 * 3600 * 1000

export interface ConversationTools {
  readonly ask: Ask
  readonly isConnected: () => boolean
  readonly clock: Clock
  readonly random: Random
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

export type Phase = 'closed' | 'opening' | 'ready' | 'no_peer_keys'

export class Conversation {
  readonly id: string
  readonly sender: Sender
  readonly #idBytes: Bytes
  #summary: Summary
  #phase: Phase = 'closed'
  #wanted = false
  #timeline: Timeline | null = null
  #epochs: ReadonlyMap<number, OpenedEpoch> = new Map()
  #peerChain: VerifiedChain | null = null
  #alarm: AlarmCode | null = null
  #halted: HaltReason | null = null
  /** The first row that was not genuine; nothing from there on counts as checked until the other side confirms it. */
  #suspectFrom: number | null = null
  #readN = 0
  #earlierThanVisit: number | null = null
  #deliveredN = 0
  #signedN = 0
  #headDueAt: number | null = null
  #lastHeadAt = 0
  #loadingEarlier = false
  readonly #early = new Map<number, Row>()
  #work: Promise<unknown> = Promise.resolve()

  constructor(
    summary: Summary,
    private readonly tools: ConversationTools,
  ) {
    this.id = summary.conversation
    this.#idBytes = uuidToBytes(summary.conversation)
    this.#summary = summary
    const { ask, clock, random, outbox, onChange } = tools
    this.sender = new Sender({
      conversation: this.id,
      ask,
      clock,
      random,
      outbox,
      canSend: () => this.canSend,
      seal: (item, writer) => this.#inOrder(() => this.#seal(item, writer)),
      onStored: (stored) => this.#attempt(() => this.#takeStored({ ...stored, side: this.side })),
      fetchEpochs: () => this.#inOrder(() => this.#fetchEpochs()),
      catchUp: () => this.#attempt(() => this.#sync()),
      onHalt: (reason) => {
        this.#halt(reason)
      },
      onChange,
      onProblem: (error) => {
        this.#failed(error)
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
    return this.#timeline?.entries ?? []
  }
  get alarm(): AlarmCode | null {
    return this.#alarm
  }
  get mustSignIn(): boolean {
    return this.#halted === 'sign_in'
  }
  get deliveredN(): number {
    return this.#deliveredN
  }
  get readN(): number {
    return this.#readN
  }
  /** Up to here the messages are from before this visit. */
  get earlierThanVisit(): number {
    return this.#earlierThanVisit ?? 0
  }
  get hasEarlier(): boolean {
    return this.#timeline !== null && this.#timeline.start.n > 0
  }
  get isLoadingEarlier(): boolean {
    return this.#loadingEarlier
  }
  get isOpen(): boolean {
    return this.#summary.open
  }
  get canSend(): boolean {
    return (
      this.#phase === 'ready' &&
      this.#alarm === null &&
      this.#halted === null &&
      this.isOpen &&
      this.tools.isConnected()
    )
  }

  /** Messages of the friend that were not read yet. Before the log is here, an upper bound from the server's number. */
  get unread(): number {
    if (this.#timeline === null) return 0
    const unloaded = Math.max(0, this.#timeline.start.n - this.#readN)
    const loaded = this.entries.filter((entry) => entry.side !== this.side && entry.n > this.#readN)
    return unloaded + loaded.filter((entry) => entry.shown.kind !== 'repeat').length
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
    })
  }

  /** The connection is there: fetch what was missed, and go on sending. */
  sync(): Promise<void> {
    if (!this.#wanted) return Promise.resolve()
    return this.#attempt(() => this.#sync()).then(() => {
      this.sender.wake()
    })
  }

  loadEarlier(): Promise<void> {
    if (this.#loadingEarlier || !this.hasEarlier) return Promise.resolve()
    this.#loadingEarlier = true
    this.tools.onChange()
    return this.#attempt(() => this.#prependPage()).finally(() => {
      this.#loadingEarlier = false
      this.tools.onChange()
    })
  }

  markRead(): void {
    if (this.#timeline === null) return
    const { n } = endOf(this.#timeline)
    if (n <= this.#readN) return
    this.#readN = n
    this.#keepPosition()
    this.tools.onChange()
  }

  // What the server says

  onSummary(summary: Summary): void {
    const before = this.#summary
    const reopened = (summary.open && !before.open) || (summary.peerHasKeys && !before.peerHasKeys)
    // Rows that were pushed meanwhile may be newer than the answer.
    const { last, lastN, activeAt } = before.lastN > summary.lastN ? before : summary
    this.#summary = { ...summary, last, lastN, activeAt }
    if (reopened && this.#halted !== 'sign_in') this.#halted = null
    if (!summary.open) void this.sender.failAll('You can no longer send messages in this conversation.')
    void this.sync()
  }

  onPresence(online: boolean | null): void {
    this.#summary = { ...this.#summary, online }
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
      if (!(await this.#knowsEpoch(record))) await this.#fetchEpochs()
      const newest = this.#epochs.get(this.#epochs.size)
      if (newest === undefined) return
      if (newest.logN > endOf(this.#loaded()).n) await this.#catchUp()
      this.#claim({ n: newest.logN, hash: newest.logHash })
    })
  }

  onKeysChanged(): void {
    if (!this.#summary.peerHasKeys) this.onSummary({ ...this.#summary, peerHasKeys: true })
    else if (this.#phase === 'ready') void this.#attempt(() => this.#refreshPeer())
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
    else if (error instanceof Refused) this.tools.clock.after(TRY_AGAIN_MS, () => void this.sync())
    else if (!(error instanceof ConnectionLost)) this.tools.onProblem(error)
  }

  #raise(code: AlarmCode): void {
    this.#alarm ??= code
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
    this.#timeline = null
    this.#epochs = new Map()
    this.#peerChain = null
    this.#suspectFrom = null
    this.#early.clear()
  }

  // Opening

  async #sync(): Promise<void> {
    if (!this.tools.isConnected() || this.#alarm !== null) return
    if (!this.#summary.peerHasKeys) {
      this.#phase = 'no_peer_keys'
      return
    }
    if (this.#phase === 'ready') {
      if (this.#summary.epoch > this.#epochs.size) await this.#fetchEpochs()
      await this.#catchUp()
    } else await this.#openAll()
    this.sender.reached(endOf(this.#loaded()).n)
    await this.#acceptHeads()
    this.#scheduleHead()
  }

  async #openAll(): Promise<void> {
    this.#phase = 'opening'
    this.tools.onChange()
    await this.tools.own.load(this.id)
    this.#peerChain = null
    await this.#refreshPeer()
    this.#epochs = new Map()
    await this.#fetchEpochs()
    await this.#loadLog()
    for (const { logN, logHash } of this.#epochs.values()) this.#claim({ n: logN, hash: logHash })
    this.#phase = 'ready'
  }

  async #refreshPeer(): Promise<void> {
    const peer = { conversation: this.id, name: this.#summary.peer.toLowerCase() }
    this.#peerChain = await fetchPeerChain(this.tools, peer, this.#peerChain)
  }

  async #refreshChains(): Promise<void> {
    await this.tools.own.refresh(this.id)
    await this.#refreshPeer()
  }

  #chains(): Chains {
    const own = this.tools.own.chain
    if (this.#peerChain === null) throw new Error('The key chain of the friend has not been fetched yet.')
    return this.side === 0 ? [own, this.#peerChain] : [this.#peerChain, own]
  }

  /** The last place that this browser or the vault remembers, with the page before it; then all that came since. */
  async #loadLog(): Promise<void> {
    const first = await logStart(this.#idBytes)
    const remembered = await this.#remembered()
    const [trusted = first, ...others] = remembered.sort((a, b) => b.n - a.n)
    let timeline = emptyTimeline(first)
    if (trusted.n > 0) {
      const page = await this.#history('before', trusted.n + 1)
      if (page.lastN < trusted.n) throw new CheckFailed('history_shortened')
      timeline = await this.#checkedPage(page, trusted)
    }
    this.#timeline = others.reduce(withClaim, timeline)
    await this.#catchUp()
    this.#earlierThanVisit ??= this.#readN
  }

  async #remembered(): Promise<LogPosition[]> {
    const stored = [
      await loadPosition(this.tools.database, this.id),
      positionOf(this.tools.vault.content, this.#idBytes),
    ].filter((position) => position !== undefined)
    this.#readN = Math.max(this.#readN, ...stored.map(({ readN }) => readN))
    return stored.map(({ checkedN, logHash }) => ({ n: checkedN, hash: logHash }))
  }

  // The log

  #history(direction: 'before' | 'after', n: number): Promise<ServerFrameOf<'history'>> {
    return this.tools.ask({ type: 'history.get', conversation: this.id, direction, n, limit: PAGE_ROWS })
  }

  /** A page of rows that must end at `end`, a place that is known. */
  async #checkedPage(page: ServerFrameOf<'history'>, end: LogPosition): Promise<Timeline> {
    const [oldest] = page.rows
    if (oldest === undefined) throw new CheckFailed('history_gap')
    const start = { n: oldest.n - 1, hash: page.beforeHash }
    if (start.n === 0) checkLogHash(start, (await logStart(this.#idBytes)).hash)
    let timeline = emptyTimeline(start)
    for (const row of page.rows) {
      const opened = await this.#openRow(row, timeline)
      timeline = (await appendRow(timeline, opened)).timeline
    }
    const reached = endOf(timeline)
    if (reached.n !== end.n) throw new LogMismatch()
    checkLogHash(reached, end.hash)
    for (const { shown } of timeline.entries)
      if (shown.kind === 'alarm' && alarmText(shown.code, '').stopsSending) this.#raise(shown.code)
    return timeline
  }

  async #prependPage(): Promise<void> {
    const timeline = this.#loaded()
    const page = await this.#history('before', timeline.start.n + 1)
    const older = await this.#checkedPage(page, timeline.start)
    this.#timeline = joinTimelines(older, this.#loaded())
  }

  async #catchUp(): Promise<void> {
    for (;;) {
      const end = endOf(this.#loaded())
      const page = await this.#history('after', end.n)
      if (page.lastN < end.n) throw new CheckFailed('history_shortened')
      const [first] = page.rows
      if (first === undefined) {
        if (page.lastN > end.n) throw new CheckFailed('history_gap')
        break
      }
      if (first.n !== end.n + 1) throw new LogMismatch()
      checkLogHash({ n: end.n, hash: page.beforeHash }, end.hash)
      await this.#append(page.rows, false)
      if (!page.more) break
    }
    const { n } = endOf(this.#loaded())
    for (const early of [...this.#early.keys()]) if (early <= n) this.#early.delete(early)
    if (this.#early.size > 0) throw new CheckFailed('history_gap')
  }

  /** One row, in its turn or early; a gap before it is fetched. */
  async #take(row: Row, pushed = false): Promise<void> {
    if (this.#phase !== 'ready') return
    const { n } = endOf(this.#loaded())
    if (row.n <= n) {
      const known = entryAt(this.#loaded(), row.n)
      if (known !== undefined && !equal(known.hash, await envelopeHash(row.envelope))) throw new LogMismatch()
    } else if (row.n === n + 1) {
      await this.#append([row, ...this.#followersOf(row.n)], pushed)
    } else {
      this.#early.set(row.n, row)
      await this.#catchUp()
    }
  }

  /** The answer to what this tab sent; its row may have been pushed before. */
  async #takeStored(row: Row): Promise<void> {
    await this.#take(row)
    if (this.#phase === 'ready') this.sender.reached(endOf(this.#loaded()).n)
  }

  #followersOf(n: number): Row[] {
    const rows: Row[] = []
    for (let row = this.#early.get(n + 1); row !== undefined; row = this.#early.get(row.n + 1)) rows.push(row)
    return rows
  }

  async #append(rows: readonly Row[], pushed: boolean): Promise<void> {
    const arrived: Entry[] = []
    for (const row of rows) {
      this.#early.delete(row.n)
      const opened = await this.#openRow(row, this.#loaded())
      const { timeline, entry } = await appendRow(this.#loaded(), opened)
      this.#timeline = timeline
      arrived.push(entry)
      this.#noteActivity(row)
      this.#judge(entry, opened)
    }
    const own = arrived.filter((entry) => entry.side === this.side).map(({ clientId }) => clientId)
    await this.sender.confirmed(new Set(own))
    this.#keepPosition()
    this.#scheduleHead()
    this.tools.onChange()
    this.tools.onArrived(arrived, pushed)
  }

  #judge(entry: Entry, opened: OpenedRow): void {
    const { shown } = entry
    if (shown.kind === 'alarm' && shown.code !== 'unknown_content') {
      this.#suspectFrom ??= entry.n
      if (alarmText(shown.code, '').stopsSending) this.#raise(shown.code)
    } else if (opened.header !== null && entry.side !== this.side) this.#confirmed(opened.header.headN)
  }

  /** The other side saw the same bytes up to here: what is wrong with a row is what its sender made, not the server. */
  #confirmed(n: number): void {
    if (this.#suspectFrom !== null && n >= this.#suspectFrom && this.#alarm === null) this.#suspectFrom = null
  }

  #loaded(): Timeline {
    if (this.#timeline === null) throw new Error('The log has not been fetched yet.')
    return this.#timeline
  }

  #claim(claim: LogPosition): void {
    this.#timeline = withClaim(this.#loaded(), claim)
  }

  async #openRow(row: Row, timeline: Timeline): Promise<OpenedRow> {
    const hash = await envelopeHash(row.envelope)
    try {
      const { header, content } = await this.#openEnvelope(row, timeline)
      return { row, hash, header, shown: content }
    } catch (error) {
      const code = alarmCodeOf(error)
      if (code === null) throw error
      const header = error instanceof UnknownContent ? decodeEnvelope(row.envelope).header : null
      return { row, hash, header, shown: { kind: 'alarm', code } }
    }
  }

  /** A newer chain, epoch or vault may explain what is not known here: they are fetched once before it counts. */
  async #openEnvelope(row: Row, timeline: Timeline): Promise<OpenedEnvelope> {
    const open = async (): Promise<OpenedEnvelope> => {
      const opened = await openEnvelope(row.envelope, {
        conversation: this.#idBytes,
        side: row.side,
        clientId: uuidToBytes(row.clientId),
        epochs: this.#epochs,
        chains: this.#chains(),
        n: row.n,
        knownHash: (n) => hashAt(timeline, n),
      })
      if (row.side === this.side) await this.#requireVault(opened.header.vaultVersion)
      return opened
    }
    try {
      return await open()
    } catch (error) {
      if (error instanceof UnknownDevice || error instanceof ChainBehind) await this.#refreshChains()
      else if (error instanceof UnknownEpoch) await this.#fetchEpochs()
      else throw error
      return open()
    }
  }

  /** One's own browsers sign which vault they saw: the server cannot hand out an older one unnoticed. */
  async #requireVault(seen: number): Promise<void> {
    const { vault } = this.tools
    if (seen > vault.version) await vault.load()
    checkVaultVersion(seen, vault.version)
  }

  // Epochs

  async #fetchEpochs(): Promise<void> {
    for (;;) {
      const page = await this.tools.ask({
        type: 'epochs.get',
        conversation: this.id,
        after: this.#epochs.size,
      })
      for (const record of page.records) await this.#acceptEpoch(record)
      if (!page.more || page.records.length === 0) return
    }
  }

  async #knowsEpoch(record: Bytes): Promise<boolean> {
    try {
      await this.#acceptEpoch(record)
      return true
    } catch (error) {
      // It may be one that is known, or not the next: the whole list tells.
      if (alarmCodeOf(error) === 'epoch_invalid') return false
      throw error
    }
  }

  async #acceptEpoch(record: Bytes): Promise<void> {
    const open = (): Promise<OpenedEpoch> =>
      openEpoch(record, {
        conversation: this.#idBytes,
        previous: this.#epochs.get(this.#epochs.size) ?? null,
        side: this.side,
        chains: this.#chains(),
        accountKeys: this.tools.vault.content.accountKeys,
        knownHash: (n) => (this.#timeline === null ? undefined : hashAt(this.#timeline, n)),
      })
    let epoch: OpenedEpoch
    try {
      epoch = await open()
    } catch (error) {
      if (!(error instanceof UnknownDevice || error instanceof ChainBehind)) throw error
      await this.#refreshChains()
      epoch = await open()
    }
    this.#epochs = new Map([...this.#epochs, [epoch.epoch, epoch]])
  }

  /** The epoch to seal under; a new one where there is none, where keys have changed, or where it has served its time. */
  async #epochForSending(): Promise<OpenedEpoch> {
    const newest = this.#epochs.get(this.#epochs.size)
    if (newest !== undefined && !this.#isWornOut(newest)) return newest
    const { record, epoch } = await createEpoch({
      conversation: this.#idBytes,
      previous: newest ?? null,
      chains: this.#chains(),
      log: this.#checked(),
      device: this.tools.keys.device,
      random: this.tools.random,
    })
    try {
      await this.tools.ask({ type: 'epoch.append', conversation: this.id, epoch: epoch.epoch, record })
      this.#epochs = new Map([...this.#epochs, [epoch.epoch, epoch]])
      return epoch
    } catch (error) {
      if (!(error instanceof Refused && error.code === 'epoch_conflict')) throw error
      await this.#fetchEpochs()
    }
    const winner = this.#epochs.get(this.#epochs.size)
    if (winner === undefined || winner === newest) throw new CheckFailed('epoch_missing')
    return winner
  }

  #isWornOut(epoch: OpenedEpoch): boolean {
    if (epochIsStale(epoch, this.#chains())) return true
    if (endOf(this.#loaded()).n - epoch.logN >= EPOCH_MESSAGES) return true
    const ofEpoch = this.entries.filter((entry) => entry.epoch === epoch.epoch)
    const [first] = ofEpoch
    const last = ofEpoch.at(-1)
    return first !== undefined && last !== undefined && last.storedAt - first.storedAt > EPOCH_MS
  }

  // Sending

  async #seal(item: Outgoing, writer: WriterState): Promise<Sealed> {
    const epoch = await this.#epochForSending()
    const { keys, random, vault } = this.tools
    const sealed = await sealEnvelope({
      epoch,
      side: this.side,
      chains: this.#chains(),
      device: keys.device,
      clientId: uuidToBytes(item.clientId),
      writer,
      log: this.#checked(),
      vaultVersion: vault.version,
      content: item.content,
      random,
    })
    return { envelope: sealed.envelope, epoch: epoch.epoch, writer: sealed.writer }
  }

  // Heads and positions

  async #acceptHeads(): Promise<void> {
    for (const side of [0, 1] as const) {
      const head = this.#summary.heads[side]
      if (head !== null) await this.#acceptHead(side, head)
    }
  }

  /** A signed head of either side: it must be of the log that is seen here, and it is the second tick. */
  async #acceptHead(side: Side, bytes: Bytes): Promise<void> {
    if (this.#phase !== 'ready') return
    const open = (): ReturnType<typeof openHead> =>
      openHead(bytes, { conversation: this.#idBytes, chain: this.#chains()[side] })
    let head: Awaited<ReturnType<typeof openHead>>
    try {
      head = await open()
    } catch (error) {
      if (!(error instanceof UnknownDevice)) throw error
      await this.#refreshChains()
      head = await open()
    }
    if (head.n > endOf(this.#loaded()).n) await this.#catchUp()
    if (head.n > endOf(this.#loaded()).n) throw new CheckFailed('head_ahead')
    this.#claim(head)
    if (side === this.side) {
      await this.#requireVault(head.vaultVersion)
      this.#signedN = Math.max(this.#signedN, head.n)
    } else {
      this.#deliveredN = Math.max(this.#deliveredN, head.n)
      if (head.n >= this.#loaded().start.n) this.#confirmed(head.n)
    }
  }

  /** At most one a second: what arrived in between is confirmed with the last. */
  #scheduleHead(): void {
    if (this.#headDueAt !== null) return
    const now = this.tools.clock.now()
    this.#headDueAt = Math.max(now, this.#lastHeadAt + HEAD_EVERY_MS)
    this.tools.clock.after(this.#headDueAt - now, () => {
      this.#headDueAt = null
      void this.#attempt(() => this.#sendHead())
    })
  }

  async #sendHead(): Promise<void> {
    if (this.#phase !== 'ready' || this.#alarm !== null || !this.isOpen || !this.tools.isConnected()) return
    const log = this.#checked()
    if (log.n <= this.#signedN) return
    this.#lastHeadAt = this.tools.clock.now()
    const { keys, vault, ask } = this.tools
    const head = await createHead({
      conversation: this.#idBytes,
      log,
      vaultVersion: vault.version,
      device: keys.device,
    })
    await ask({ type: 'head.set', conversation: this.id, head })
    this.#signedN = Math.max(this.#signedN, log.n)
  }

  /** Up to here every row was genuine, or known to be the same on both sides. Only this is signed and remembered. */
  #checked(): LogPosition {
    const timeline = this.#loaded()
    const end = endOf(timeline)
    if (this.#suspectFrom === null) return end
    const hash = hashAt(timeline, this.#suspectFrom - 1)
    return hash === undefined ? timeline.start : { n: this.#suspectFrom - 1, hash }
  }

  #keepPosition(): void {
    if (this.#alarm !== null) return
    const { n, hash } = this.#checked()
    const position = { checkedN: n, logHash: hash, readN: this.#readN }
    this.tools.vault.notePosition({ conversation: this.#idBytes, ...position })
    advancePosition(this.tools.database, { conversation: this.id, ...position }).catch(this.tools.onProblem)
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
}
