/** How far each conversation was checked and read in this browser: fresher than the vault, and as easily lost as any storage. */
import type { Database, PositionRecord } from './database'

export async function loadPosition(
  database: Database,
  conversation: string,
): Promise<PositionRecord | undefined> {
  return database.get('positions', conversation)
}

export async function loadPositions(database: Database): Promise<PositionRecord[]> {
  return database.getAll('positions')
}

/** Never goes back: another tab may be further. */
export async function advancePosition(database: Database, position: PositionRecord): Promise<void> {
  const transaction = database.transaction('positions', 'readwrite')
  const stored = await transaction.store.get(position.conversation)
  const further = stored !== undefined && stored.checkedN > position.checkedN ? stored : position
  const readN = Math.max(position.readN, stored?.readN ?? 0)
  await Promise.all([transaction.store.put({ ...further, readN }), transaction.done])
}
