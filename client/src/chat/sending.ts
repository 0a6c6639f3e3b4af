/** What a refused message means for what comes next. Plain data, so that it can be read as a table and tested as one. */

export type AfterRefusal =
  /** Seal again under a new writer. `lookUp`: ask first whether the server has it; `epochs`: fetch the epochs first. */
  | { readonly kind: 'seal_again'; readonly lookUp: boolean; readonly epochs: boolean }
  /** Try the same again, after at least so many seconds. */
  | { readonly kind: 'wait'; readonly seconds: number; readonly because: 'too_fast' | 'unavailable' }
  /** It stays, marked as failed, until the person retries or deletes it. */
  | { readonly kind: 'failed'; readonly reason: string }
  /** Nothing can be sent here until something else changes. */
  | { readonly kind: 'halt'; readonly reason: 'closed' | 'no_peer_keys' | 'sign_in' }

const TOO_FAST_PAUSE_SECONDS = 5
/** However long the server asks for: it must not silence anybody for good, and timers take no more than 24 days. */
const LONGEST_PAUSE_SECONDS = 3600

export function afterRefusal(code: string, message: string, retryAfter: number | null): AfterRefusal {
  switch (code) {
    case 'stale_epoch':
      return { kind: 'seal_again', lookUp: false, epochs: true }
    case 'writer_gap':
    case 'client_id_reused':
      return { kind: 'seal_again', lookUp: true, epochs: false }
    case 'too_fast':
      return { kind: 'wait', seconds: bounded(retryAfter ?? TOO_FAST_PAUSE_SECONDS), because: 'too_fast' }
    case 'unavailable':
      return { kind: 'wait', seconds: bounded(retryAfter ?? 0), because: 'unavailable' }
    case 'conversation_closed':
      return { kind: 'halt', reason: 'closed' }
    case 'peer_has_no_keys':
      return { kind: 'halt', reason: 'no_peer_keys' }
    case 'unknown_device':
      return { kind: 'halt', reason: 'sign_in' }
    case 'malformed_frame':
      return { kind: 'failed', reason: 'This page is too old for the server. Reload it, then try again.' }
    default:
      return { kind: 'failed', reason: message }
  }
}

function bounded(seconds: number): number {
  return Math.min(seconds, LONGEST_PAUSE_SECONDS)
}
