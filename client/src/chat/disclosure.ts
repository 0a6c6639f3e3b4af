/** What of a conversation is opened for the operators: chosen messages of the friend, and nothing else (section 12). */
import type { Ask } from '../net/socket'
import type { Bytes } from '../wire/bytes'
import type { Row } from '../wire/frames'
import type { Side } from '../wire/objects'
import { CheckFailed } from './alarms'
import type { CheckedLog } from './checked_log'

const PAGE_ROWS = 50

export interface Disclosed {
  readonly n: number
  /** The server's clock, milliseconds since 1970. */
  readonly storedAt: number
  /** What `content` says. */
  readonly text: string
  readonly content: Bytes
  readonly frankingKey: Bytes
}

export interface DisclosureSource {
  readonly ask: Ask
  readonly conversation: string
  /** One's own. */
  readonly side: Side
  readonly log: CheckedLog
}

/** In ascending order. Each is fetched again and must be the one that was checked before: keys of messages are not kept. */
export async function disclosed(
  source: DisclosureSource,
  numbers: readonly number[],
): Promise<readonly Disclosed[]> {
  const messages: Disclosed[] = []
  for (const row of await rowsOf(
    source,
    [...numbers].sort((one, other) => one - other),
  )) {
    if (row.side === source.side) throw new CheckFailed('history_gap')
    const { content, contentBytes, frankingKey } = await source.log.reopen(row)
    const { n, storedAt } = row
    messages.push({ n, storedAt, text: content.text, content: contentBytes, frankingKey })
  }
  return messages
}

async function rowsOf({ ask, conversation }: DisclosureSource, sorted: readonly number[]): Promise<Row[]> {
  const rows: Row[] = []
  while (rows.length < sorted.length) {
    const wanted = sorted.slice(rows.length)
    const n = (wanted[0] ?? 1) - 1
    const page = await ask({ type: 'history.get', conversation, direction: 'after', n, limit: PAGE_ROWS })
    const found = wanted.flatMap((one) => page.rows.filter((row) => row.n === one))
    if (found.length === 0) throw new CheckFailed('history_gap')
    rows.push(...found)
  }
  return rows
}
