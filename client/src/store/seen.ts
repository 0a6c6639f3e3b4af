/**
 * The newest of the person's own vault and key chain that this browser has seen: older ones are refused for good.
 *
 * Read it before asking the server: what another tab writes meanwhile may be newer than the answer.
 */
import { type Database, openDatabase, type SeenRecord } from './database'

const NOTHING: SeenRecord = { vaultVersion: 1, chain: null }

export async function loadSeen(database: Database): Promise<SeenRecord> {
  return (await database.get('seen', 'self')) ?? NOTHING
}

/** For pages that have no database open. */
export async function seenBy(name: string): Promise<SeenRecord> {
  const database = await openDatabase(name)
  try {
    return await loadSeen(database)
  } finally {
    database.close()
  }
}

/** Never goes back: another tab may have seen more. */
export async function noteSeen(database: Database, seen: Partial<SeenRecord>): Promise<void> {
  const transaction = database.transaction('seen', 'readwrite')
  const stored = (await transaction.store.get('self')) ?? NOTHING
  const vaultVersion = Math.max(stored.vaultVersion, seen.vaultVersion ?? 1)
  const chain = (seen.chain?.seq ?? 0) > (stored.chain?.seq ?? 0) ? (seen.chain ?? null) : stored.chain
  // Where nothing is new nothing is written: a browser without room left goes on reading.
  const isNew = vaultVersion > stored.vaultVersion || chain !== stored.chain
  await Promise.all([
    isNew ? transaction.store.put({ vaultVersion, chain }, 'self') : undefined,
    transaction.done,
  ])
}
