/** The request that discloses chosen messages to the operators (docs/protocol.md, sections 8 and 12). */
import type { Bytes } from './bytes'
import { count, exactObject, positive, toWire } from './json'

export const REPORT_CATEGORIES = ['spam', 'harassment', 'threat', 'sexual', 'impersonation', 'other'] as const

export type ReportCategory = (typeof REPORT_CATEGORIES)[number]

export interface ReportBody {
  readonly conversation: string
  readonly category: ReportCategory
  readonly note: string
  readonly messages: readonly { readonly n: number; readonly content: Bytes; readonly frankingKey: Bytes }[]
}

/** Of each message these three and nothing else, whatever more the object knows of it. */
export function encodeReport({ conversation, category, note, messages }: ReportBody): unknown {
  const chosen = messages.map(({ n, content, frankingKey }) => ({ n, content, frankingKey }))
  return toWire({ conversation, category, note, messages: chosen })
}

/** `verified` counts the messages that the server could prove. */
export const decodeReported = exactObject<{ readonly report: number; readonly verified: number }>({
  report: positive,
  verified: count,
})
