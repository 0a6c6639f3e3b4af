/**
 * One conversation in this browser: its checked log, its epochs, what is being sent, and what went wrong.
 *
 * Everything that touches the log happens in one order, the order of arrival (`#inOrder`), so that a page of history,
 * a pushed row and an answer cannot overtake one another. What is lost with a connection is fetched after the next one.
 */
import { openEnvelope, sealEnvelope, type OpenedEnvelope } from '../crypto/envelope'
import { createEpoch, epochIsStale, openEpoch, type OpenedEpoch } from '../crypto/epoch'
import {
  ChainBehind,
  DeviceEnded,
  HeadInvalid,
  HistoryLost,
  LogMismatch,
  NoAccountKey,
  UnknownContent,
  UnknownDevice,
  UnknownEpoch,
} from '../crypto/errors'
import { qrText, readQrText, safetyNumber } from '../crypto/fingerprint'
import { createHead, openHead } from '../crypto/head'
import type { ChainIdentity, Chains } from '../crypto/key_chain'
import { checkLogHash, envelopeHash, type LogPosition, logStart } from '../crypto/log'
import { checkVaultVersion, positionOf } from '../crypto/vault'
import type { WriterState } from '../crypto/writer_chain'
import { ApiUnreachable } from '../net/api'
import { RetryLater } from '../net/backoff'
import type { Clock } from '../net/clock'
import { type Ask, ConnectionLost, Refused } from '../net/socket'
import type { Database, StoredKeys } from '../store/database'
import { advancePosition, loadPosition } from '../store/positions'
import { type Bytes, equal, type Random, uuidToBytes } from '../wire/bytes'
import type { Row, ServerFrameOf, Summary } from '../wire/frames'
import { decodeEnvelope, type Side } from '../wire/objects'
import { type AlarmCode, alarmCodeOf, alarmText, CheckFailed } from './alarms'
import type { Outbox, Outgoing } from './outbox'
import { Friend, type OwnChain } from './people'
import { proofText } from './proof'
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
const EPOCH_MESSAGES = 10_000
/** So often an epoch is made for one message before the server is taken for lying. */
const EPOCH_ROUNDS = 6
const EPOCH_MS = 30 * 24 * 3600 * 1000
/** So long a friend's browser may take to confirm a message before that is worth a word. */
const LATE_MS = 30_000

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

/**
 * How sure it is that the friend is who the person thinks: `changed` after a comparison that no longer holds, or when
 * the name was somebody else's.
 */
export type Trust = 'unknown' | 'unverified' | 'verified' | 'changed' | 'mismatch'

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
  readonly #idBytes: Bytes
  #summary: Summary
  #phase: Phase = 'closed'
  #wanted = false
  /** Whether key chains were asked for since the connection was there. */
  #isCurrent = false
  #timeline: Timeline | null = null
  #epochs: ReadonlyMap<number, OpenedEpoch> = new Map()
  readonly #friend: Friend
  /** So many messages waited when the friend, never compared, began anew: they wait for a word of the person. */
  #held = 0
  #alarm: AlarmCode | null = null
  #halted: HaltReason | null = null
  /** The first row that was not genuine; nothing from there on counts as checked until the other side confirms it. */
  #suspectFrom: number | null = null
  #readN = 0
  #earlierThanVisit: number | null = null
  #deliveredN = 0
  #peerReadN = 0
  #signedN = 0
  #signedReadN = 0
  #onlineSince: number | null = null
  /** `since` when it is here, by this browser's clock. */
  #newestOwn = { n: 0, since: 0 }
  readonly #heads: [Bytes | null, Bytes | null] = [null, null]
  #headDueAt: number | null = null
  #lastHeadAt = 0
  #loadingEarlier: Promise<void> | null = null
  readonly #early = new Map<number, Row>()
  /** The next try to fetch what the server could not give. */
  readonly #syncLater: RetryLater
  #work: Promise<unknown> = Promise.resolve()

  constructor(
    summary: Summary,
    private readonly tools: ConversationTools,
  ) {
    this.id = summary.conversation
    this.#idBytes = uuidToBytes(summary.conversation)
    this.#summary = summary
    const { ask, clock, random, jitter, outbox, onChange } = tools
    this.#syncLater = new RetryLater(tools, () => void this.sync())
    this.#friend = new Friend(tools, this.id, foldedName(summary))
    this.#noteOnline(summary.online)
    this.sender = new Sender({
      conversation: this.id,
      ask,
      clock,
      random,
      jitter,
      outbox,
      canSend: () => this.canSend,
      seal: (item, writer) => this.#inOrder(() => this.#seal(item, writer)),
      onStored: (stored) => this.#attempt(() => this.#takeStored({ ...stored, side: this.side })),
      fetchEpochs: () => this.#inOrder(() => this.#fetchEpochs()),
      requireInLog: (clientId, n) => this.#inOrder(() => this.#requireInLog(clientId, n)),
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
  /** When the server is asked again for what it could not give; null when nothing is missing. */
  get retryAt(): number | null {
    return this.#syncLater.at
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
    return this.#loadingEarlier !== null
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
      this.#held === 0 &&
      this.trust !== 'changed' &&
      this.trust !== 'mismatch' &&
      this.tools.isConnected()
    )
  }

  get trust(): Trust {
    if (this.#friend.isMismatch) return 'mismatch'
    if (this.#friend.isSomebodyElse) return 'changed'
    if (this.#friend.hasChanged && this.verifiedAt > 0) return 'changed'
    if (this.verifiedAt > 0) return 'verified'
    return this.#friend.isKnown ? 'unverified' : 'unknown'
  }
  /** When safety numbers were compared, in milliseconds since 1970; 0 for never. */
  get verifiedAt(): number {
    return this.#friend.verifiedAt
  }
  get isVerified(): boolean {
    return this.verifiedAt > 0 && !this.#friend.hasChanged
  }
  /** So many messages wait for `sendWaiting`, because the friend began anew. */
  get heldMessages(): number {
    return this.#held === 0 ? 0 : Math.max(this.#held, this.sender.waiting.length)
  }
  /** What the own QR code says; null until both chains are here. */
  get safetyCode(): string | null {
    return this.#friend.isKnown ? qrText(this.#fingerprints()) : null
  }
  get restarts(): readonly Restart[] {
    if (!this.#friend.isKnown || this.#timeline === null) return []
    return ([0, 1] as const).flatMap((side) =>
      this.#chains()
        [side].identities.slice(1)
        .map((identity) => this.#restart(side, identity)),
    )
  }
  /** Up to here the friend has read; 0 when one of the two does not share it. */
  get peerReadN(): number {
    return this.#sharesRead ? this.#peerReadN : 0
  }
  /** Since when the friend is online without their browser confirming one's own newest message; null when all is well. */
  get lateSince(): number | null {
    const { n, since } = this.#newestOwn
    const online = this.#onlineSince
    if (online === null || n <= this.#deliveredN) return null
    return this.tools.clock.now() - Math.max(online, since) >= LATE_MS ? online : null
  }
  get history(): History {
    if (this.#timeline === null) return { checked: 0, total: this.#summary.lastN, confirmed: 0 }
    const { n } = endOf(this.#timeline)
    const total = Math.max(n, this.#summary.lastN)
    return { checked: n - this.#timeline.start.n, total, confirmed: Math.min(this.#deliveredN, total) }
  }

  /** Messages of the friend that were not read yet. Before the log is here, an upper bound from the server's number. */
  get unread(): number {
    if (this.#timeline === null) return 0
    const unloaded = Math.max(0, this.#timeline.start.n - this.#readN)
    const loaded = this.entries.filter((entry) => entry.side !== this.side && entry.n > this.#readN)
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
    this.#loadingEarlier ??= this.#attempt(() => this.#prependPage()).finally(() => {
      this.#loadingEarlier = null
      this.tools.onChange()
    })
    this.tools.onChange()
    return this.#loadingEarlier
  }

  markRead(): void {
    if (this.#timeline === null) return
    const { n } = endOf(this.#timeline)
    if (n <= this.#readN) return
    this.#readN = n
    void this.#keepPosition()
    if (this.#sharesRead) this.#scheduleHead()
    this.tools.onChange()
  }

  // Who the friend is

  /** 60 digits, the same for both. */
  safetyNumber(): Promise<string> {
    const { own, peer } = this.#fingerprints()
    return safetyNumber(own, peer)
  }

  /** What a scanned code of the friend's screen says. */
  compareCode(text: string): 'fits' | 'differs' | 'no_code' {
    const code = readQrText(text)
    if (code === null) return 'no_code'
    const { own, peer } = this.#fingerprints()
    return equal(code.shower, peer) && equal(code.other, own) ? 'fits' : 'differs'
  }

  theyMatch(): Promise<void> {
    const compared = this.safetyCode
    return this.#decide(async () => {
      // What was compared is what was shown, whatever the server has shown since.
      if (compared !== null && compared === this.safetyCode)
        await this.#friend.confirm(this.tools.clock.now())
    })
  }

  /** Nothing is sent until `clearMismatch` or `theyMatch`. */
  theyDoNotMatch(): Promise<void> {
    return this.#decide(() => this.#friend.setMismatch(true))
  }

  clearMismatch(): Promise<void> {
    return this.#decide(() => this.#friend.setMismatch(false))
  }

  unverify(): Promise<void> {
    return this.#decide(() => this.#friend.unverify())
  }

  /** Takes the other identity without a comparison. */
  sendAnywayOnce(): Promise<void> {
    return this.#decide(() => this.#friend.accept())
  }

  sendWaiting(): Promise<void> {
    return this.#decide(() => this.#friend.accept())
  }

  async #decide(act: () => Promise<void>): Promise<void> {
    await this.#attempt(async () => {
      await act()
      if (!this.#friend.hasChanged) this.#held = 0
    })
    this.sender.wake()
  }

  #fingerprints(): { readonly own: Bytes; readonly peer: Bytes } {
    return { own: this.tools.own.chain.fingerprint, peer: this.#friend.chain.fingerprint }
  }

  #restart(side: Side, { at, seq }: ChainIdentity): Restart {
    const epochs = [...this.#epochs.values()]
    const after = epochs.find(({ members }) => members[side].seq >= seq)
    return { side, at, afterN: after?.logN ?? endOf(this.#loaded()).n }
  }

  // The whole history

  /** Fetches and checks every page down to the first message. */
  async checkAll(): Promise<void> {
    for (let start = this.#timeline?.start.n ?? 0; start > 0;) {
      await this.loadEarlier()
      const reached = this.#timeline?.start.n ?? 0
      if (reached >= start) return
      start = reached
    }
  }

  /** The text of a proof file (docs/protocol.md, section 11). Throws `CheckFailed` where not all could be checked. */
  async exportProof(): Promise<string> {
    await this.checkAll()
    return this.#inOrder(async () => {
      await this.#refreshChains()
      const timeline = this.#loaded()
      if (timeline.start.n > 0 || this.#alarm !== null) throw new CheckFailed('history_gap')
      return proofText({
        ask: this.tools.ask,
        conversation: this.id,
        side: this.side,
        chains: this.#chains(),
        heads: this.#heads,
        hashes: timeline.entries.map(({ hash }) => hash),
        now: this.tools.clock.now(),
      })
    })
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
    this.#noteOnline(summary.online)
    if (reopened && this.#halted !== 'sign_in') this.#halted = null
    if (!summary.open) void this.sender.failAll('You can no longer send messages in this conversation.')
    void this.sync()
  }

  onPresence(online: boolean | null): void {
    this.#summary = { ...this.#summary, online }
    this.#noteOnline(online)
  }

  #noteOnline(online: boolean | null): void {
    if (online !== true) this.#onlineSince = null
    else if (this.#onlineSince === null) {
      this.#onlineSince = this.tools.clock.now()
      this.#lookForLateness()
    }
  }

  /** The screen has to change when enough time has gone by, though nothing happens. */
  #lookForLateness(): void {
    this.tools.clock.after(LATE_MS + 1_000, () => {
      if (this.lateSince !== null) this.tools.onChange()
    })
  }

  onConnectionLost(): void {
    this.#isCurrent = false
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
      if (!(await this.#knowsEpoch(record))) await this.#fetchEpochs()
      const newest = this.#epochs.get(this.#epochs.size)
      if (newest === undefined) return
      if (newest.logN > endOf(this.#loaded()).n) await this.#catchUp()
      this.#claim({ n: newest.logN, hash: newest.logHash })
    })
  }

  onKeysChanged(): void {
    if (!this.#summary.peerHasKeys) this.onSummary({ ...this.#summary, peerHasKeys: true })
    else
      void this.#attempt(async () => {
        if (this.#phase === 'ready') await this.#refreshPeer()
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
    this.#timeline = null
    this.#epochs = new Map()
    this.#friend.forget()
    this.#suspectFrom = null
    this.#early.clear()
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
      await this.#requireCurrent()
      if (this.#summary.epoch > this.#epochs.size) await this.#fetchEpochs()
      await this.#catchUp()
    } else await this.#openAll()
    await this.#requireStored()
    await this.#acceptHeads()
    this.#scheduleHead()
  }

  async #openAll(): Promise<void> {
    this.#phase = 'opening'
    this.tools.onChange()
    await this.tools.own.load(this.id)
    this.#friend.forget()
    await this.#refreshPeer()
    this.#isCurrent = true
    this.#epochs = new Map()
    await this.#fetchEpochs()
    await this.#loadLog()
    for (const { logN, logHash } of this.#epochs.values()) this.#claim({ n: logN, hash: logHash })
    this.#phase = 'ready'
  }

  async #refreshPeer(): Promise<void> {
    await this.#friend.refresh()
    await this.#followFriend()
  }

  /** While there was no connection nobody told of new keys. */
  async #requireCurrent(): Promise<void> {
    if (this.#isCurrent) return
    this.#isCurrent = true
    try {
      await this.#refreshChains()
    } catch (error) {
      this.#isCurrent = false
      throw error
    }
  }

  /** Another identity of a friend who was never compared is taken, unless something waits that was written before. */
  async #followFriend(): Promise<void> {
    if (!this.#friend.hasChanged) {
      this.#held = 0
      return
    }
    if (this.trust === 'changed' && !this.#friend.isComparedElsewhere) return
    this.#held = await this.tools.outbox.countWaiting(this.id)
    if (this.#held === 0) await this.#friend.accept()
  }

  /** Other tabs of this browser may have decided, or sent what waited. */
  async #lookAtDecisions(): Promise<void> {
    await this.#friend.look()
    if (this.#held > 0) await this.#followFriend()
  }

  async #refreshChains(): Promise<void> {
    await this.tools.own.refresh(this.id)
    await this.#refreshPeer()
  }

  #chains(): Chains {
    const own = this.tools.own.chain
    const peer = this.#friend.chain
    return this.side === 0 ? [own, peer] : [peer, own]
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
    if (timeline.start.n === 0) return
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
    await this.#requireInLog(row.clientId, row.n)
  }

  /** What the server said it had stored, before a connection was lost. */
  async #requireStored(): Promise<void> {
    for (const { clientId, storedN } of this.sender.items)
      if (storedN !== null) await this.#requireInLog(clientId, storedN)
  }

  /** A message of this tab is sent when it is in the log, whatever the server says. */
  async #requireInLog(clientId: string, n: number): Promise<void> {
    if (this.#phase !== 'ready' || this.#alarm !== null) return
    if (n > endOf(this.#loaded()).n) await this.#catchUp()
    while (n <= this.#loaded().start.n) await this.#prependPage()
    const entry = entryAt(this.#loaded(), n)
    if (entry?.clientId !== clientId || !this.#isOwn(entry)) throw new CheckFailed('history_gap')
    await this.sender.confirmed(new Set([clientId]))
  }

  #isOwn({ side, epoch }: Entry): boolean {
    return side === this.side && epoch !== null
  }

  #followersOf(n: number): Row[] {
    const rows: Row[] = []
    for (let row = this.#early.get(n + 1); row !== undefined; row = this.#early.get(row.n + 1)) rows.push(row)
    return rows
  }

  async #append(rows: readonly Row[], pushed: boolean): Promise<void> {
    const arrived: Entry[] = []
    try {
      for (const row of rows) {
        const opened = await this.#openRow(row, this.#loaded())
        const { timeline, entry } = await appendRow(this.#loaded(), opened)
        this.#timeline = timeline
        this.#early.delete(row.n)
        arrived.push(entry)
        this.#noteActivity(row)
        this.#judge(entry, opened)
      }
    } finally {
      // Also of those before one for which the connection was lost.
      if (arrived.length > 0) await this.#settle(arrived, pushed)
    }
  }

  async #settle(arrived: readonly Entry[], pushed: boolean): Promise<void> {
    // First what proves that they were here, should the server deny it; then they leave the outbox.
    await this.#keepPosition()
    const own = arrived.filter((entry) => this.#isOwn(entry)).map(({ clientId }) => clientId)
    await this.sender.confirmed(new Set(own))
    this.#scheduleHead()
    const newestOwn = arrived.findLast((entry) => entry.side === this.side)
    if (newestOwn !== undefined) {
      this.#newestOwn = { n: newestOwn.n, since: this.tools.clock.now() }
      this.#lookForLateness()
    }
    await this.#lookAtDecisions()
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
    try {
      const { header, content, hash } = await this.#openEnvelope(row, timeline)
      return { row, hash, header, shown: content }
    } catch (error) {
      const hash = await envelopeHash(row.envelope)
      if (error instanceof HistoryLost)
        return { row, hash, header: decodeEnvelope(row.envelope).header, shown: { kind: 'lost' } }
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
      if (error instanceof UnknownDevice || error instanceof ChainBehind) await this.#refreshChains()
      else if (error instanceof NoAccountKey) await this.tools.vault.load()
      else throw error
      epoch = await this.#openWithNewKeys(open)
    }
    this.#epochs = new Map([...this.#epochs, [epoch.epoch, epoch]])
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

  /** The epoch to seal under; a new one where there is none, where keys have changed, or where it has served its time. */
  async #epochForSending(): Promise<OpenedEpoch | null> {
    for (let round = 1; this.#needsEpoch(); round += 1) {
      if (round > EPOCH_ROUNDS) throw new CheckFailed('epoch_missing')
      await this.#makeEpoch()
      if (!this.canSend) return null
    }
    return this.#newestEpoch()
  }

  /** Appends the next epoch, or takes the one of whoever was faster. */
  async #makeEpoch(): Promise<void> {
    await this.#refreshChains()
    await this.#fetchEpochs()
    // The record names these places and no later ones: what an ended device said before is then in the log.
    const chains = this.#chains()
    const previous = this.#newestEpoch()
    await this.#catchUp()
    // The log may bring an epoch that names later places: the next round follows that one.
    if (!this.canSend || !this.#needsEpoch() || this.#newestEpoch() !== previous) return
    const { record, epoch } = await createEpoch({
      conversation: this.#idBytes,
      previous,
      chains,
      log: this.#checked(),
      device: this.tools.keys.device,
      random: this.tools.random,
    })
    try {
      await this.tools.ask({ type: 'epoch.append', conversation: this.id, epoch: epoch.epoch, record })
      this.#epochs = new Map([...this.#epochs, [epoch.epoch, epoch]])
    } catch (error) {
      if (!(error instanceof Refused && error.code === 'epoch_conflict')) throw error
      await this.#fetchEpochs()
    }
  }

  #newestEpoch(): OpenedEpoch | null {
    return this.#epochs.get(this.#epochs.size) ?? null
  }

  #needsEpoch(): boolean {
    const newest = this.#newestEpoch()
    return newest === null || newest.secret === null || this.#isWornOut(newest)
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

  async #seal(item: Outgoing, writer: WriterState): Promise<Sealed | null> {
    await this.#requireCurrent()
    await this.#friend.look()
    if (!this.canSend) return null
    const epoch = await this.#epochForSending()
    if (epoch === null) return null
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
      openHead(bytes, {
        conversation: this.#idBytes,
        chain: this.#chains()[side],
        side,
        epochs: this.#epochs,
      })
    let head: Awaited<ReturnType<typeof openHead>>
    try {
      head = await open()
    } catch (error) {
      if (error instanceof DeviceEnded) throw new HeadInvalid()
      if (!(error instanceof UnknownDevice)) throw error
      await this.#refreshChains()
      head = await open()
    }
    if (head.epoch > this.#epochs.size) {
      await this.#fetchEpochs()
      head = await open()
    }
    if (head.n > endOf(this.#loaded()).n) await this.#catchUp()
    if (head.n > endOf(this.#loaded()).n) throw new CheckFailed('head_ahead')
    this.#claim(head)
    this.#heads[side] = bytes
    if (side === this.side) {
      await this.#requireVault(head.vaultVersion)
      this.#noteOwnHead(head.n, head.readN ?? 0)
    } else {
      this.#deliveredN = Math.max(this.#deliveredN, head.n)
      this.#peerReadN = Math.max(this.#peerReadN, Math.min(head.readN ?? 0, head.n))
      if (head.n >= this.#loaded().start.n) this.#confirmed(head.n)
    }
  }

  /** Another browser of this person has checked and read so far; its head stands at the server now. */
  #noteOwnHead(n: number, readN: number): void {
    if (n < this.#signedN) return
    this.#signedN = n
    this.#signedReadN = readN
    if (readN > this.#readN) {
      this.#readN = Math.min(readN, endOf(this.#loaded()).n)
      void this.#keepPosition()
    } else if (readN < this.#readN) this.#scheduleHead()
  }

  get #sharesRead(): boolean {
    const { vault } = this.tools
    return vault.isLoaded && vault.content.preferences.sharesRead
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
    const readN = this.#sharesRead ? Math.min(this.#readN, log.n) : 0
    if (log.n < this.#signedN || (log.n === this.#signedN && readN <= this.#signedReadN)) return
    const epoch = this.#newestEpoch()
    // Who started fresh cannot read the epoch, and says nothing until there is the next.
    if (epoch?.secret == null) return
    this.#lastHeadAt = this.tools.clock.now()
    const { keys, vault, ask, random } = this.tools
    const head = await createHead({
      conversation: this.#idBytes,
      log,
      vaultVersion: vault.version,
      device: keys.device,
      epoch,
      readN,
      random,
    })
    await ask({ type: 'head.set', conversation: this.id, head })
    this.#heads[this.side] = head
    this.#noteOwnHead(log.n, readN)
  }

  /** Up to here every row was genuine, or known to be the same on both sides. Only this is signed and remembered. */
  #checked(): LogPosition {
    const timeline = this.#loaded()
    const end = endOf(timeline)
    if (this.#suspectFrom === null) return end
    const hash = hashAt(timeline, this.#suspectFrom - 1)
    return hash === undefined ? timeline.start : { n: this.#suspectFrom - 1, hash }
  }

  async #keepPosition(): Promise<void> {
    if (this.#alarm !== null) return
    const { n, hash } = this.#checked()
    const position = { checkedN: n, logHash: hash, readN: this.#readN }
    this.tools.vault.notePosition({ conversation: this.#idBytes, ...position })
    await advancePosition(this.tools.database, { conversation: this.id, ...position }).catch(
      this.tools.onProblem,
    )
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

function foldedName({ peer }: Summary): string {
  return peer.toLowerCase()
}
