/** What the server tells the chat page about itself. */
import { MalformedData } from '../wire/bytes'
import { pageData } from './page_data'
import type { ChatPlaces, ReportLimits } from './chat_app'

const ANY_ROOM = '00000000-0000-0000-0000-000000000000'

/** What the log-in says above the form. */
export type WhyLogIn = 'signed_out' | 'keys_missing' | 'keys_renewed'

const QUERY_OF: Record<WhyLogIn, Record<string, string>> = {
  signed_out: { signed_out: '1' },
  keys_missing: { again: 'keys' },
  keys_renewed: { again: '1' },
}

export interface ChatPage {
  readonly foldedName: string
  /** The conversation in the address, or null for the list. */
  readonly conversation: string | null
  readonly socketPath: string
  readonly maxCharacters: number
  readonly places: ChatPlaces
  readonly reports: ReportLimits
  logIn(next: string, why: WhyLogIn): string
}

/** Throws `MalformedData` when the template forgot something. */
export function chatPage(page: Document): ChatPage {
  const data = record(pageData(page))
  const urls = record(data['urls'])
  const limits = record(data['limits'])
  const room = text(urls['room'])
  const logIn = text(urls['log_in'])
  return {
    foldedName: text(data['folded_name']),
    conversation: data['conversation'] === null ? null : text(data['conversation']),
    socketPath: text(data['socket_path']),
    maxCharacters: number(limits['max_message_characters']),
    places: {
      list: text(urls['chat']),
      addFriend: text(urls['add_friend']),
      browsers: text(urls['browsers']),
      room: (conversation) => room.replace(ANY_ROOM, conversation),
    },
    reports: {
      page: text(urls['reports']),
      maxMessages: number(limits['max_reported_messages']),
      maxNoteCharacters: number(limits['max_report_note_characters']),
      maxBytes: number(limits['max_report_evidence_bytes']),
    },
    logIn: (next, why) => `${logIn}?${new URLSearchParams({ ...QUERY_OF[why], next }).toString()}`,
  }
}

function record(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) throw new MalformedData('page data')
  return value as Record<string, unknown>
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new MalformedData('page data')
  return value
}

function number(value: unknown): number {
  if (typeof value !== 'number') throw new MalformedData('page data')
  return value
}
