/** The log of a conversation: a running hash over its envelopes that both people compare (docs/protocol.md, section 6). */
import { type Bytes, equal, uint64 } from '../wire/bytes'
import { LogMismatch } from './errors'
import { hash } from './labels'

/** The log after its `n`-th envelope; `n` is 0 before the first. */
export interface LogPosition {
  readonly n: number
  readonly hash: Bytes
}

export function envelopeHash(envelope: Bytes): Promise<Bytes> {
  return hash('envelope', envelope)
}

export async function logStart(conversation: Bytes): Promise<LogPosition> {
  return { n: 0, hash: await hash('log', conversation) }
}

export async function logNext(position: LogPosition, hashOfEnvelope: Bytes): Promise<LogPosition> {
  const n = position.n + 1
  return { n, hash: await hash('log', position.hash, uint64(n), hashOfEnvelope) }
}

/** The position after each row. Throws `LogMismatch` when the numbers do not follow one another from `start`. */
export async function logRows(
  start: LogPosition,
  rows: readonly { readonly n: number; readonly envelope: Bytes }[],
): Promise<LogPosition[]> {
  const positions: LogPosition[] = []
  let position = start
  for (const row of rows) {
    if (row.n !== position.n + 1) throw new LogMismatch()
    position = await logNext(position, await envelopeHash(row.envelope))
    positions.push(position)
  }
  return positions
}

/** Throws `LogMismatch` when this browser knows another hash at that place. What it does not know passes. */
export function checkLogHash(claimed: LogPosition, known: Bytes | undefined): void {
  if (known !== undefined && !equal(claimed.hash, known)) throw new LogMismatch()
}
