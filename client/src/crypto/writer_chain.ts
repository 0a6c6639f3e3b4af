/**
 * Writers: the thread of messages that one tab wrote in one conversation (docs/protocol.md, section 6).
 *
 * The sender's tab keeps a `WriterState`; a reader keeps `WriterSpans`, for each writer the stretch it has checked.
 */
import { type Bytes, equal, type Random, toHex } from '../wire/bytes'
import type { EnvelopeHeader } from '../wire/objects'
import { WriterBroken } from './errors'

const WRITER_BYTES = 16
const NO_ENVELOPE = new Uint8Array(32)

/** `seq` and `prev` are of the last envelope, 0 and zeros before the first. */
export interface WriterState {
  readonly writer: Bytes
  readonly seq: number
  readonly prev: Bytes
}

export function newWriter(random: Random): WriterState {
  return { writer: random(WRITER_BYTES), seq: 0, prev: NO_ENVELOPE }
}

export interface WriterSpan {
  readonly device: Bytes
  readonly firstSeq: number
  readonly firstPrev: Bytes
  readonly lastSeq: number
  readonly lastHash: Bytes
}

/** By writer, in hexadecimal. */
export type WriterSpans = ReadonlyMap<string, WriterSpan>

export const NO_WRITERS: WriterSpans = new Map()

/**
 * The spans with one more envelope, in ascending order of the log. Throws `WriterBroken`.
 *
 * `fromFirst` says that the spans begin with the conversation: then a writer's first envelope must be its number 1.
 */
export function advanceWriters(
  spans: WriterSpans,
  header: EnvelopeHeader,
  hash: Bytes,
  options: { readonly fromFirst: boolean },
): WriterSpans {
  const writer = toHex(header.writer)
  const span = spans.get(writer)
  if (header.seq === 1 && !equal(header.prev, NO_ENVELOPE)) throw new WriterBroken()
  if (span === undefined ? options.fromFirst && header.seq !== 1 : !continues(span, header))
    throw new WriterBroken()
  const first = span ?? { device: header.device, firstSeq: header.seq, firstPrev: header.prev }
  return new Map([...spans, [writer, { ...first, lastSeq: header.seq, lastHash: hash }]])
}

function continues(span: WriterSpan, header: EnvelopeHeader): boolean {
  return (
    header.seq === span.lastSeq + 1 && equal(header.prev, span.lastHash) && equal(header.device, span.device)
  )
}

/** The spans of an older page and of what follows it directly. Throws `WriterBroken` when they do not fit. */
export function joinWriters(older: WriterSpans, newer: WriterSpans): WriterSpans {
  const joined = new Map(older)
  for (const [writer, after] of newer) {
    const before = older.get(writer)
    joined.set(writer, before === undefined ? after : join(before, after))
  }
  return joined
}

function join(before: WriterSpan, after: WriterSpan): WriterSpan {
  const fits =
    after.firstSeq === before.lastSeq + 1 &&
    equal(after.firstPrev, before.lastHash) &&
    equal(after.device, before.device)
  if (!fits) throw new WriterBroken()
  return { ...before, lastSeq: after.lastSeq, lastHash: after.lastHash }
}

/** For when the oldest page was joined: throws `WriterBroken` if a writer does not begin with its number 1. */
export function requireFromFirst(spans: WriterSpans): void {
  for (const span of spans.values()) if (span.firstSeq !== 1) throw new WriterBroken()
}
