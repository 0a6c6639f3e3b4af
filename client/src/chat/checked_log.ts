/** The log of one conversation as far as it is loaded: fetched page by page, every row opened and checked in its place. */
import { openEnvelope, type OpenedEnvelope } from '../crypto/envelope'
import {
  ChainBehind,
  HistoryLost,
  LogMismatch,
  UnknownContent,
  UnknownDevice,
  UnknownEpoch,
} from '../crypto/errors'
import { checkLogHash, envelopeHash, type LogPosition, logStart } from '../crypto/log'
import type { Ask } from '../net/socket'
import { type Bytes, equal, uuidToBytes } from '../wire/bytes'
import type { Row, ServerFrameOf } from '../wire/frames'
import { decodeEnvelope, type Side } from '../wire/objects'
import { type AlarmCode, alarmCodeOf, alarmText, CheckFailed } from './alarms'
import type { Epochs } from './epochs'
import type { Members } from './members'
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

export interface LogTools {
  readonly ask: Ask
  readonly vault: VaultKeeper
  readonly conversation: string
  /** One's own. */
  readonly side: Side
  readonly members: Members
  readonly epochs: Epochs
  readonly isAlarmed: () => boolean
  readonly raise: (code: AlarmCode) => void
  /** A row has come to the end of the log. */
  readonly onRow: (row: Row) => void
  /** Rows have come to the end; `pushed` when by themselves, not with an older history. */
  readonly onAppended: (entries: readonly Entry[], pushed: boolean) => Promise<void>
}

export class CheckedLog {
  readonly #conversation: Bytes
  #timeline: Timeline | null = null
  /** The first row that was not genuine; nothing from there on counts as checked until the other side confirms it. */
  #suspectFrom: number | null = null
  readonly #early = new Map<number, Row>()

  constructor(private readonly tools: LogTools) {
    this.#conversation = uuidToBytes(tools.conversation)
  }

  get isLoaded(): boolean {
    return this.#timeline !== null
  }

  get entries(): readonly Entry[] {
    return this.#timeline?.entries ?? []
  }

  /** The place before the first entry. */
  get start(): LogPosition {
    return this.#loaded().start
  }

  get end(): LogPosition {
    return endOf(this.#loaded())
  }

  /** Up to here every row was genuine, or known to be the same on both sides. Only this is signed and remembered. */
  get checked(): LogPosition {
    const timeline = this.#loaded()
    if (this.#suspectFrom === null) return endOf(timeline)
    const hash = hashAt(timeline, this.#suspectFrom - 1)
    return hash === undefined ? timeline.start : { n: this.#suspectFrom - 1, hash }
  }

  /** Undefined where it is not loaded. */
  hashAt(n: number): Bytes | undefined {
    return this.#timeline === null ? undefined : hashAt(this.#timeline, n)
  }

  entryAt(n: number): Entry | undefined {
    return entryAt(this.#loaded(), n)
  }

  forget(): void {
    this.#timeline = null
    this.#suspectFrom = null
    this.#early.clear()
  }

  /** Somebody has said what the log is at a place. Throws `LogMismatch`. */
  claim(position: LogPosition): void {
    this.#timeline = withClaim(this.#loaded(), position)
  }

  /** The other side saw the same bytes up to here: what is wrong with a row is what its sender made, not the server. */
  confirmed(n: number): void {
    if (this.#suspectFrom !== null && n >= this.#suspectFrom && !this.tools.isAlarmed())
      this.#suspectFrom = null
  }

  /** The last of the places that are remembered, with the page before it; then all that came since. */
  async load(remembered: readonly LogPosition[]): Promise<void> {
    const first = await logStart(this.#conversation)
    const [trusted = first, ...others] = [...remembered].sort((a, b) => b.n - a.n)
    let timeline = emptyTimeline(first)
    if (trusted.n > 0) {
      const page = await this.#history('before', trusted.n + 1)
      if (page.lastN < trusted.n) throw new CheckFailed('history_shortened')
      timeline = await this.#checkedPage(page, trusted)
    }
    this.#timeline = others.reduce(withClaim, timeline)
    await this.catchUp()
  }

  async prependPage(): Promise<void> {
    const timeline = this.#loaded()
    if (timeline.start.n === 0) return
    const page = await this.#history('before', timeline.start.n + 1)
    const older = await this.#checkedPage(page, timeline.start)
    this.#timeline = joinTimelines(older, this.#loaded())
  }

  async catchUp(): Promise<void> {
    for (;;) {
      const { end } = this
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
    const { n } = this.end
    for (const early of [...this.#early.keys()]) if (early <= n) this.#early.delete(early)
    if (this.#early.size > 0) throw new CheckFailed('history_gap')
  }

  /** One row, in its turn or early; a gap before it is fetched. */
  async take(row: Row, pushed = false): Promise<void> {
    const { n } = this.end
    if (row.n <= n) {
      const known = this.entryAt(row.n)
      if (known !== undefined && !equal(known.hash, await envelopeHash(row.envelope))) throw new LogMismatch()
    } else if (row.n === n + 1) {
      await this.#append([row, ...this.#followersOf(row.n)], pushed)
    } else {
      this.#early.set(row.n, row)
      await this.catchUp()
    }
  }

  /** A row that stands in the log, opened once more. Throws `LogMismatch` for any other. */
  async reopen(row: Row): Promise<OpenedEnvelope> {
    const known = this.entryAt(row.n)
    const opened = await this.#openEnvelope(row, this.#loaded())
    if (known?.side !== row.side || !equal(known.hash, opened.hash)) throw new LogMismatch()
    return opened
  }

  #loaded(): Timeline {
    if (this.#timeline === null) throw new Error('The log has not been fetched yet.')
    return this.#timeline
  }

  #history(direction: 'before' | 'after', n: number): Promise<ServerFrameOf<'history'>> {
    const { ask, conversation } = this.tools
    return ask({ type: 'history.get', conversation, direction, n, limit: PAGE_ROWS })
  }

  /** A page of rows that must end at `end`, a place that is known. */
  async #checkedPage(page: ServerFrameOf<'history'>, end: LogPosition): Promise<Timeline> {
    const [oldest] = page.rows
    if (oldest === undefined) throw new CheckFailed('history_gap')
    const start = { n: oldest.n - 1, hash: page.beforeHash }
    if (start.n === 0) checkLogHash(start, (await logStart(this.#conversation)).hash)
    let timeline = emptyTimeline(start)
    for (const row of page.rows) {
      const opened = await this.#openRow(row, timeline)
      timeline = (await appendRow(timeline, opened)).timeline
    }
    const reached = endOf(timeline)
    if (reached.n !== end.n) throw new LogMismatch()
    checkLogHash(reached, end.hash)
    for (const { shown } of timeline.entries) if (shown.kind === 'alarm') this.#raiseIfItStops(shown.code)
    return timeline
  }

  #raiseIfItStops(code: AlarmCode): void {
    if (alarmText(code, '').stopsSending) this.tools.raise(code)
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
        this.tools.onRow(row)
        this.#judge(entry, opened)
      }
    } finally {
      // Also of those before one for which the connection was lost.
      if (arrived.length > 0) await this.tools.onAppended(arrived, pushed)
    }
  }

  #judge(entry: Entry, opened: OpenedRow): void {
    const { shown } = entry
    if (shown.kind === 'alarm' && shown.code !== 'unknown_content') {
      this.#suspectFrom ??= entry.n
      this.#raiseIfItStops(shown.code)
    } else if (opened.header !== null && entry.side !== this.tools.side) this.confirmed(opened.header.headN)
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

  /** A newer chain, epoch or vault may explain what is not known here: each is fetched once before it counts. */
  async #openEnvelope(row: Row, timeline: Timeline): Promise<OpenedEnvelope> {
    const { members, epochs, vault, side } = this.tools
    const open = async (): Promise<OpenedEnvelope> => {
      const opened = await openEnvelope(row.envelope, {
        conversation: this.#conversation,
        side: row.side,
        clientId: uuidToBytes(row.clientId),
        epochs: epochs.known,
        chains: members.chains,
        n: row.n,
        knownHash: (n) => hashAt(timeline, n),
      })
      if (row.side === side) await vault.requireSeen(opened.header.vaultVersion)
      return opened
    }
    let refreshed = false
    let fetched = false
    for (;;) {
      try {
        return await open()
      } catch (error) {
        if (!refreshed && (error instanceof UnknownDevice || error instanceof ChainBehind)) {
          refreshed = true
          await members.refresh()
        } else if (!fetched && error instanceof UnknownEpoch) {
          fetched = true
          await epochs.fetch()
        } else throw error
      }
    }
  }
}
