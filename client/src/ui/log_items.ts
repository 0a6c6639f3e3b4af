/** What the log shows, line by line, from the checked entries and what waits to be sent. Pure data. */
import type { AlarmCode } from '../chat/alarms'
import type { SendingItem } from '../chat/sender'
import type { Entry } from '../chat/timeline'
import { dayKey, dayName, type TimeStyle } from './times'

const GROUP_MS = 5 * 60_000

export type Status = 'waiting' | 'sent' | 'delivered' | 'failed'

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
  | {
      readonly kind: 'alarm'
      readonly key: string
      readonly own: boolean
      readonly code: AlarmCode
      readonly n: number
    }

export interface LogSource {
  readonly entries: readonly Entry[]
  readonly outgoing: readonly SendingItem[]
  readonly ownSide: Entry['side']
  /** The friend's browser has confirmed up to here. */
  readonly deliveredN: number
  /** Messages up to here are from before this visit. */
  readonly earlierThanVisit: number
  /** Where "New messages" stands: before the friend's first message after this one. Null for nowhere. */
  readonly newAfter: number | null
  readonly now: number
}

type Ungrouped = Omit<MessageItem, 'first' | 'last'>
type Line = Ungrouped | Exclude<LogItem, MessageItem>

export function logItems(source: LogSource, style: TimeStyle = {}): LogItem[] {
  return grouped([...withDividers(source, style)])
}

function* withDividers(source: LogSource, style: TimeStyle): Iterable<Line> {
  let day = ''
  let divided = source.newAfter === null
  for (const { line, time } of lines(source)) {
    const thisDay = dayKey(time, style)
    if (thisDay !== day) yield { kind: 'day', key: `day ${thisDay}`, text: dayName(time, source.now, style) }
    day = thisDay
    const isNew =
      line.kind !== 'day' && line.kind !== 'new' && !line.own && (line.n ?? 0) > (source.newAfter ?? 0)
    if (!divided && isNew) {
      divided = true
      yield { kind: 'new', key: 'new' }
    }
    yield line
  }
}

function* lines(source: LogSource): Iterable<{ readonly line: Line; readonly time: number }> {
  for (const entry of source.entries) {
    const line = lineOf(entry, source)
    if (line !== null) yield { line, time: entry.storedAt }
  }
  const shown = new Set(source.entries.map(({ clientId }) => clientId))
  for (const item of source.outgoing)
    if (!shown.has(item.clientId)) yield { line: waitingLine(item), time: item.content.sentAt }
}

function lineOf(entry: Entry, source: LogSource): Line | null {
  const own = entry.side === source.ownSide
  const { shown, n, clientId } = entry
  switch (shown.kind) {
    case 'repeat':
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
        status: own ? (n <= source.deliveredN ? 'delivered' : 'sent') : null,
        failure: null,
        clientId,
        n,
        earlier: n <= source.earlierThanVisit,
      }
  }
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

function grouped(all: readonly Line[]): LogItem[] {
  return all.map((line, index) => {
    if (line.kind !== 'message') return line
    return { ...line, first: !together(all[index - 1], line), last: !together(line, all[index + 1]) }
  })
}

function together(one: Line | undefined, next: Line | undefined): boolean {
  if (one?.kind !== 'message' || next?.kind !== 'message') return false
  return one.own === next.own && next.time - one.time < GROUP_MS && one.failure === null
}
