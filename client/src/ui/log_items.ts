/** What the log shows, line by line, from the checked entries and what waits to be sent. Pure data. */
import type { AlarmCode } from '../chat/alarms'
import type { SendingItem } from '../chat/sender'
import type { Entry } from '../chat/timeline'
import { dayKey, dayName, type TimeStyle } from './times'

const GROUP_MS = 5 * 60_000

export type Status = 'waiting' | 'sent' | 'delivered' | 'read' | 'failed'

export interface MessageItem {
  readonly kind: 'message'
  readonly key: string
  readonly own: boolean
  readonly text: string
  /** Milliseconds since 1970. */
  readonly time: number
  /** Null for the friend's. */
  readonly status: Status | null
  readonly failure: string | null
  /** Since when the friend has been online without confirming it; the newest own message only. */
  readonly lateSince: number | null
  /** Whether its state stands there in words: the newest own message only. */
  readonly isNewestOwn: boolean
  readonly clientId: string
  /** Its number in the log; null while it waits. */
  readonly n: number | null
  readonly earlier: boolean
  /** Of a group: the same person within five minutes. */
  readonly first: boolean
  readonly last: boolean
}

export type LogItem =
  | MessageItem
  | { readonly kind: 'day'; readonly key: string; readonly text: string }
  | { readonly kind: 'new'; readonly key: string }
  /** Somebody started over with new keys. */
  | { readonly kind: 'restart'; readonly key: string; readonly own: boolean; readonly at: number }
  /** A run of messages from before one started over. */
  | { readonly kind: 'lost'; readonly key: string; readonly count: number }
  | {
      readonly kind: 'alarm'
      readonly key: string
      readonly own: boolean
      readonly code: AlarmCode
      readonly n: number
    }

/** Where a person's new keys stand among the messages. */
export interface Restart {
  readonly side: Entry['side']
  /** Milliseconds since 1970, by the clock of who started over. */
  readonly at: number
  /** The line stands after this message. */
  readonly afterN: number
}

export interface LogSource {
  readonly entries: readonly Entry[]
  readonly outgoing: readonly SendingItem[]
  readonly restarts: readonly Restart[]
  readonly ownSide: Entry['side']
  /** The friend's browser has confirmed up to here. */
  readonly deliveredN: number
  /** The friend has read up to here; 0 when one of the two does not share it. */
  readonly peerReadN: number
  /** Since when the friend is online without confirming the newest message of one's own. */
  readonly lateSince: number | null
  /** Messages up to here are from before this visit. */
  readonly earlierThanVisit: number
  /** Where "New messages" stands: before the friend's first message after this one. Null for nowhere. */
  readonly newAfter: number | null
  readonly now: number
}

type Ungrouped = Omit<MessageItem, 'first' | 'last' | 'isNewestOwn' | 'lateSince'>
type Line = Ungrouped | Exclude<LogItem, MessageItem>

/** A line, and the time that decides its day; what belongs to no day has none. */
interface Timed {
  readonly line: Line
  readonly time: number | null
}

export function logItems(source: LogSource, style: TimeStyle = {}): LogItem[] {
  return finished([...withDividers(source, style)], source)
}

function* withDividers(source: LogSource, style: TimeStyle): Iterable<Line> {
  let day = ''
  let divided = source.newAfter === null
  for (const { line, time } of lines(source)) {
    if (time !== null) {
      const thisDay = dayKey(time, style)
      if (thisDay !== day)
        yield { kind: 'day', key: `day ${thisDay}`, text: dayName(time, source.now, style) }
      day = thisDay
    }
    if (!divided && isNew(line, source.newAfter ?? 0)) {
      divided = true
      yield { kind: 'new', key: 'new' }
    }
    yield line
  }
}

function isNew(line: Line, after: number): boolean {
  return (line.kind === 'message' || line.kind === 'alarm') && !line.own && (line.n ?? 0) > after
}

function* lines(source: LogSource): Iterable<Timed> {
  const { entries, outgoing } = source
  const firstN = entries[0]?.n ?? 1
  const restarts = source.restarts.filter(({ afterN }) => entries.length === 0 || afterN >= firstN - 1)
  let lost = 0
  for (const entry of entries) {
    const before = restarts.filter(({ afterN }) => afterN === entry.n - 1)
    const isLost = entry.shown.kind === 'lost'
    if (lost > 0 && (!isLost || before.length > 0)) {
      yield lostLine(entry.n - 1, lost)
      lost = 0
    }
    yield* before.map(restartLine(source))
    if (isLost) lost += 1
    const line = lineOf(entry, source)
    if (line !== null) yield { line, time: entry.storedAt }
  }
  const endN = entries.at(-1)?.n ?? 0
  if (lost > 0) yield lostLine(endN, lost)
  yield* restarts.filter(({ afterN }) => afterN >= endN).map(restartLine(source))
  const shown = new Set(entries.map(({ clientId }) => clientId))
  // What was not sent when it was written stands under the day that the log has come to.
  const endedAt = entries.at(-1)?.storedAt ?? 0
  for (const item of outgoing)
    if (!shown.has(item.clientId))
      yield { line: waitingLine(item), time: Math.max(item.content.sentAt, endedAt) }
}

function lostLine(lastN: number, count: number): Timed {
  return { line: { kind: 'lost', key: `lost ${lastN}`, count }, time: null }
}

function restartLine({ ownSide }: LogSource): (restart: Restart) => Timed {
  return ({ side, at, afterN }) => ({
    line: { kind: 'restart', key: `restart ${side} ${afterN} ${at}`, own: side === ownSide, at },
    time: null,
  })
}

function lineOf(entry: Entry, source: LogSource): Line | null {
  const own = entry.side === source.ownSide
  const { shown, n, clientId } = entry
  switch (shown.kind) {
    case 'repeat':
    case 'lost':
      return null
    case 'alarm':
      return { kind: 'alarm', key: `alarm ${n}`, own, code: shown.code, n }
    case 'text':
      return {
        kind: 'message',
        key: clientId,
        own,
        text: shown.text,
        time: entry.storedAt,
        status: own ? statusOf(n, source) : null,
        failure: null,
        clientId,
        n,
        earlier: n <= source.earlierThanVisit,
      }
  }
}

function statusOf(n: number, { deliveredN, peerReadN }: LogSource): Status {
  if (n <= peerReadN) return 'read'
  return n <= deliveredN ? 'delivered' : 'sent'
}

function waitingLine(item: SendingItem): Ungrouped {
  const stored = item.storedN !== null
  return {
    kind: 'message',
    key: item.clientId,
    own: true,
    text: item.content.text,
    time: item.content.sentAt,
    status: stored ? 'sent' : item.failure === null ? 'waiting' : 'failed',
    failure: item.failure,
    clientId: item.clientId,
    n: item.storedN,
    earlier: false,
  }
}

function finished(all: readonly Line[], { lateSince }: LogSource): LogItem[] {
  const newestOwn = all.findLastIndex((line) => line.kind === 'message' && line.own && line.n !== null)
  return all.map((line, index) => {
    if (line.kind !== 'message') return line
    const isNewestOwn = index === newestOwn
    return {
      ...line,
      isNewestOwn,
      lateSince: isNewestOwn && line.status === 'sent' ? lateSince : null,
      first: !together(all[index - 1], line),
      last: !together(line, all[index + 1]),
    }
  })
}

function together(one: Line | undefined, next: Line | undefined): boolean {
  if (one?.kind !== 'message' || next?.kind !== 'message') return false
  return one.own === next.own && next.time - one.time < GROUP_MS && one.failure === null
}
