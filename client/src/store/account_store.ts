/** This browser's keys for the signed-in person, and what of them outlives a log-out. */
import type { AccountRecord, Database, DeviceRecord } from './database'

export async function loadAccount(database: Database): Promise<AccountRecord | undefined> {
  return database.get('account', 'self')
}

/** Replaces what was there: one person, one set of keys in this browser. */
export async function saveAccount(database: Database, account: AccountRecord): Promise<void> {
  const transaction = database.transaction(['account', 'device'], 'readwrite', { durability: 'strict' })
  const { identityPublic, device } = account.browser
  await Promise.all([
    transaction.objectStore('account').put(account, 'self'),
    transaction.objectStore('device').put({ identityPublic, device }, 'self'),
    transaction.done,
  ])
}

/** The key that this browser already has on the person's key chain, also after a log-out. */
export async function loadDevice(database: Database): Promise<DeviceRecord | undefined> {
  return database.get('device', 'self')
}

export async function countUnsent(database: Database): Promise<number> {
  return database.count('outbox')
}

/**
 * What a log-out leaves: the device's signing key, so that the next log-in needs no new entry on the key chain.
 *
 * Everything readable goes: the vault key, the local key, and with it drafts and the outbox.
 */
export async function forgetSession(database: Database): Promise<void> {
  const stores = ['account', 'outbox', 'drafts', 'positions', 'pins'] as const
  const transaction = database.transaction(stores, 'readwrite', { durability: 'strict' })
  await Promise.all([...stores.map((store) => transaction.objectStore(store).clear()), transaction.done])
}
