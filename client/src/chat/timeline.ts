/**
 * The part of a conversation's log that is loaded and checked: contiguous, with the running hash at every place.
 *
 * Pure data; what needs keys has been opened before it comes here (`openRow` in conversation.ts).
 */
import { LogMismatch, WriterBroken } from '../crypto/errors'
import { checkLogHash, logNext, type LogPosition } from '../crypto/log'
import {
  advanceWriters,
  joinWriters,
  NO_WRITERS,
  requireFromFirst,
  type WriterSpans,
} from '../crypto/writer_chain'
import { type Bytes, equal, toHex } from '../wire/bytes'
import type { Row } from '../wire/frames'
import type { EnvelopeHeader, Side } from '../wire/objects'
import type { AlarmCode } from './alarms'

export type Shown =
  | { readonly kind: 'text'; readonly text: string; readonly sentAt: number }
  | { readonly kind: 'alarm'; readonly code: AlarmCode }
  /** Genuine, but sealed to keys that its reader lost by starting fresh. */
  | { readonly kind: 'lost' }
  /** The same message once more, under another number: shown where it came first. */
  | { readonly kind: 'repeat' }

export interface Entry {
  readonly n: number
  readonly side: Side
  readonly clientId: string
  /** The server's clock, milliseconds since 1970. */
  readonly storedAt: number
  readonly hash: Bytes
  /** Null when the message is not genuine. */
  readonly epoch: number | null
  readonly shown: Shown
}

/** A row that was opened, or the reason why not. `header` is null when it is not genuine. */
export interface OpenedRow {
  readonly row: Row
  readonly hash: Bytes
  readonly header: EnvelopeHeader | null
  readonly shown: Shown
}

export interface Timeline {
  /** The place before the first entry. */
  readonly start: LogPosition
  readonly entries: readonly Entry[]
  /** The running hash after each entry. */
  readonly hashes: readonly Bytes[]
  readonly writers: WriterSpans
  /** What others said of places before the first entry, to be compared when they are loaded. */
  readonly claims: readonly LogPosition[]
}

export function emptyTimeline(start: LogPosition): Timeline {
  return { start, entries: [], hashes: [], writers: NO_WRITERS, claims: [] }
}

export function endOf(timeline: Timeline): LogPosition {
  const hash = timeline.hashes.at(-1)
  return hash === undefined ? timeline.start : { n: timeline.start.n + timeline.hashes.length, hash }
}

/** Undefined where it is not loaded. */
export function hashAt(timeline: Timeline, n: number): Bytes | undefined {
  return n === timeline.start.n ? timeline.start.hash : timeline.hashes[n - timeline.start.n - 1]
}

export function entryAt(timeline: Timeline, n: number): Entry | undefined {
  return timeline.entries[n - timeline.start.n - 1]
}

/** Compares now, or keeps the claim until its place is loaded. Throws `LogMismatch`, also for a place after the end. */
export function withClaim(timeline: Timeline, claim: LogPosition): Timeline {
  if (claim.n > endOf(timeline).n) throw new LogMismatch()
  if (claim.n < timeline.start.n) return { ...timeline, claims: [...timeline.claims, claim] }
  checkLogHash(claim, hashAt(timeline, claim.n))
  return timeline
}

export interface Appended {
  readonly timeline: Timeline
  readonly entry: Entry
}

/**
 * The next row. A message that does not fit is kept as an alarm in its place: the log goes on either way,
 * because its hash is over the bytes, whatever they say. Throws `LogMismatch` when it is not the next.
 */
export async function appendRow(timeline: Timeline, opened: OpenedRow): Promise<Appended> {
  const { row, header } = opened
  const end = endOf(timeline)
  if (row.n !== end.n + 1) throw new LogMismatch()
  const next = await logNext(end, opened.hash)
  const placed = header === null ? { timeline, broken: null } : placeHeader(timeline, header, opened.hash)
  const entry: Entry = {
    n: row.n,
    side: row.side,
    clientId: row.clientId,
    storedAt: row.storedAt,
    hash: opened.hash,
    epoch: header?.epoch ?? null,
    shown: shownOf(placed.broken, isRepeated(timeline, row.clientId), opened.shown),
  }
  return {
    entry,
    timeline: {
      ...placed.timeline,
      entries: [...timeline.entries, entry],
      hashes: [...timeline.hashes, next.hash],
    },
  }
}

/** Whether a genuine message had the same id; what is not genuine takes no id away from what is. */
function isRepeated({ entries }: Timeline, clientId: string): boolean {
  return entries.some((entry) => entry.clientId === clientId && entry.epoch !== null)
}

function shownOf(broken: AlarmCode | null, repeated: boolean, shown: Shown): Shown {
  if (broken !== null) return { kind: 'alarm', code: broken }
  if (repeated && shown.kind === 'text') return { kind: 'repeat' }
  return shown
}

function placeHeader(
  timeline: Timeline,
  header: EnvelopeHeader,
  hash: Bytes,
): { readonly timeline: Timeline; readonly broken: AlarmCode | null } {
  try {
    const claimed = withClaim(timeline, { n: header.headN, hash: header.headHash })
    const fromFirst = timeline.start.n === 0
    return {
      timeline: { ...claimed, writers: advanceWriters(timeline.writers, header, hash, { fromFirst }) },
      broken: null,
    }
  } catch (error) {
    if (error instanceof LogMismatch) return { timeline, broken: 'log_mismatch' }
    if (!(error instanceof WriterBroken)) throw error
    // One alarm for one gap: what this writer sends from here on is compared with this message.
    const others = new Map(timeline.writers)
    others.delete(toHex(header.writer))
    const writers = advanceWriters(others, header, hash, { fromFirst: false })
    return { timeline: { ...timeline, writers }, broken: 'writer_broken' }
  }
}

/** Puts an older page before what is loaded. Throws `LogMismatch` or `WriterBroken` when the two do not belong together. */
export function joinTimelines(older: Timeline, newer: Timeline): Timeline {
  const seam = endOf(older)
  if (seam.n !== newer.start.n || !equal(seam.hash, newer.start.hash)) throw new LogMismatch()
  const joined: Timeline = {
    start: older.start,
    entries: [...older.entries, ...newer.entries],
    hashes: [...older.hashes, ...newer.hashes],
    writers: joinWriters(older.writers, newer.writers),
    claims: older.claims,
  }
  if (older.start.n === 0) requireFromFirst(joined.writers)
  return newer.claims.reduce(withClaim, joined)
}
