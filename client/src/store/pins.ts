/** Friends' identities as this browser saw them, beside the vault's: a vault that the server rolled back does not undo them. */
import type { Database, PinRecord } from './database'

export async function loadPin(database: Database, conversation: string): Promise<PinRecord | undefined> {
  return database.get('pins', conversation)
}

export async function keepPin(database: Database, pin: PinRecord): Promise<void> {
  await database.put('pins', pin)
}
