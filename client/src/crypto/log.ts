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

/** Throws `LogMismatch` when this browser knows another hash at that place. What it does not know passes. */
export function checkLogHash(claimed: LogPosition, known: Bytes | undefined): void {
  if (known !== undefined && !equal(claimed.hash, known)) throw new LogMismatch()
}
