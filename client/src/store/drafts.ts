/** What was typed and not sent, one for each conversation. */
import type { Database, DraftRecord } from './database'

export async function keepDraft(database: Database, record: DraftRecord): Promise<void> {
  await database.put('drafts', record)
}

export async function dropDraft(database: Database, conversation: string): Promise<void> {
  await database.delete('drafts', conversation)
}

export async function loadDrafts(database: Database): Promise<DraftRecord[]> {
  return database.getAll('drafts')
}
