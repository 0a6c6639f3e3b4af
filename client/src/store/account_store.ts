/** This browser's keys for the signed-in person, and what of them stays while they are locked away. */
import { equal } from '../wire/bytes'
import {
  type AccountRecord,
  type Database,
  type DeviceRecord,
  openDatabase,
  removeDatabase,
} from './database'

/** The browser may take its time to delete; what counts is empty by then. */
const DELETE_WITHIN_MS = 2_000

export async function loadAccount(database: Database): Promise<AccountRecord | undefined> {
  return database.get('account', 'self')
}

/** Replaces what was there: one person, one set of keys in this browser. What was kept for another identity opens nothing any more and goes. */
export async function saveAccount(database: Database, account: AccountRecord): Promise<void> {
  const { identityPublic, device } = account.browser
  const before = await loadDevice(database)
  if (before !== undefined && !equal(before.identityPublic, identityPublic)) await forgetEverything(database)
  const transaction = database.transaction(['account', 'device'], 'readwrite', { durability: 'strict' })
  await Promise.all([
    transaction.objectStore('account').put(account, 'self'),
    transaction.objectStore('device').put({ identityPublic, device }, 'self'),
    transaction.done,
  ])
}

/** The key that this browser has on the person's key chain, also while it is locked. */
export async function loadDevice(database: Database): Promise<DeviceRecord | undefined> {
  return database.get('device', 'self')
}

/** Messages that wait to be sent; those that were refused for good do not wait. */
export async function countUnsent(database: Database): Promise<number> {
  const all = await database.getAll('outbox')
  return all.filter(({ failure }) => failure === null).length
}

/** Takes the keys away that read something. What they unlock stays, unreadable, and so does the device. */
export async function lockAccount(database: Database): Promise<void> {
  const transaction = database.transaction('account', 'readwrite', { durability: 'strict' })
  await Promise.all([transaction.store.clear(), transaction.done])
}

/** Whether the keys were locked away here, so that the password is all that is missing. */
export async function isLocked(database: Database): Promise<boolean> {
  return (await loadAccount(database)) === undefined && (await loadDevice(database)) !== undefined
}

/** Removes all that this browser keeps of the person. */
export async function forgetEverything(database: Database): Promise<void> {
  const stores = [...database.objectStoreNames]
  const transaction = database.transaction(stores, 'readwrite', { durability: 'strict' })
  await Promise.all([...stores.map((store) => transaction.objectStore(store).clear()), transaction.done])
}

/** The same, and the database itself. `name` is folded. */
export async function forgetPerson(name: string): Promise<void> {
  const database = await openDatabase(name)
  await forgetEverything(database).finally(() => {
    database.close()
  })
  // Empty it is already; a tab that does not let go of it must not keep anybody waiting.
  await Promise.race([
    removeDatabase(name),
    new Promise((resolve) => {
      setTimeout(resolve, DELETE_WITHIN_MS)
    }),
  ])
}
