/** Messages that wait to be sent. Each belongs to one tab, so that no two tabs send it at once. */
import type { Database, OutboxRecord } from './database'

export async function putOutgoing(database: Database, record: OutboxRecord): Promise<void> {
  const transaction = database.transaction('outbox', 'readwrite', { durability: 'strict' })
  await Promise.all([transaction.store.put(record), transaction.done])
}

export async function removeOutgoing(database: Database, clientId: string): Promise<void> {
  await database.delete('outbox', clientId)
}

/** How many wait in a conversation, whichever tab sends them; those that were refused for good do not wait. */
export async function countWaiting(database: Database, conversation: string): Promise<number> {
  const all = await database.getAllFromIndex('outbox', 'conversation', conversation)
  return all.filter(({ failure }) => failure === null).length
}

/** Takes over what tabs left behind that `isAlive` does not know any more. Returns what it took, the oldest first. */
export async function adoptOrphans(
  database: Database,
  owner: string,
  isAlive: (owner: string) => boolean,
): Promise<OutboxRecord[]> {
  const transaction = database.transaction('outbox', 'readwrite', { durability: 'strict' })
  const orphans = (await transaction.store.getAll())
    .filter((record) => record.owner !== owner && !isAlive(record.owner))
    .map((record) => ({ ...record, owner }))
  await Promise.all([...orphans.map((record) => transaction.store.put(record)), transaction.done])
  return orphans.sort((a, b) => a.createdAt - b.createdAt)
}
