/** Friends' identities as this browser saw them, beside the vault's: a vault that the server rolled back does not undo them. */
import type { Database, PinRecord } from './database'

export async function loadPin(database: Database, conversation: string): Promise<PinRecord | undefined> {
  return database.get('pins', conversation)
}

export async function loadPins(database: Database): Promise<PinRecord[]> {
  return database.getAll('pins')
}

/** `change` gets what is stored, and its result is stored, with nobody in between. Returns the result. */
export async function changePin(
  database: Database,
  conversation: string,
  change: (stored: PinRecord | undefined) => PinRecord,
): Promise<PinRecord> {
  const transaction = database.transaction('pins', 'readwrite', { durability: 'strict' })
  const changed = change(await transaction.store.get(conversation))
  await Promise.all([transaction.store.put(changed), transaction.done])
  return changed
}
