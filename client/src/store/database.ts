/**
 * The browser's own database: one for each person who signs in here, so that nobody finds another's.
 *
 * Everything in it is a cache: browsers may delete it, and the vault brings the keys back.
 */
import { deleteDB, openDB, type DBSchema, type IDBPDatabase } from 'idb'
import type { Bytes } from '../wire/bytes'

/** The key that signs for this browser; `seed` only where the browser's own cryptography has no Ed25519. */
export interface StoredDevice {
  readonly id: Bytes
  readonly publicKey: Bytes
  readonly key:
    | { readonly kind: 'webcrypto'; readonly privateKey: CryptoKey }
    | { readonly kind: 'seed'; readonly seed: Bytes }
}

/** This browser's keys for the person, as `crypto/account.ts` makes them. The `CryptoKey`s can be used, not read out. */
export interface StoredKeys {
  readonly origin: string
  /** Folded. */
  readonly name: string
  readonly identityPublic: Bytes
  readonly device: StoredDevice
  /** Opens and seals the vault. */
  readonly vaultKey: CryptoKey
  readonly vaultGeneration: number
  /** For what waits in this browser: drafts and the outbox. */
  readonly localKey: CryptoKey
}

export interface AccountRecord {
  /** The name as it was typed at sign-up. */
  readonly username: string
  readonly browser: StoredKeys
}

/** A message that waits to be sent; its content is boxed with `localKey`. */
export interface OutboxRecord {
  readonly clientId: string
  readonly conversation: string
  readonly createdAt: number
  readonly box: Bytes
  /** The tab that sends it; another adopts it when that tab is gone. */
  readonly owner: string
  /** Why it was refused for good, or null while it waits. */
  readonly failure: string | null
}

/** Text that was typed and not sent, boxed with `localKey`. */
export interface DraftRecord {
  readonly conversation: string
  readonly updatedAt: number
  readonly box: Bytes
}

/** How far a conversation's log was checked, and read, in this browser. */
export interface PositionRecord {
  readonly conversation: string
  readonly checkedN: number
  readonly logHash: Bytes
  readonly readN: number
}

/** What this browser knows of a friend's identity, as in the vault. */
export interface PinRecord {
  readonly conversation: string
  readonly identityPublic: Bytes
  readonly fingerprint: Bytes
  /** Milliseconds since 1970, 0 for never. */
  readonly verifiedAt: number
  readonly seq: number
  readonly head: Bytes
  /** The person compared, and the numbers differed. */
  readonly mismatch: boolean
  /** From this version on the vault knows at least as much; null while what the person decided is not in it yet. */
  readonly savedIn: number | null
}

/** A newer browser of the same person that this one's person was told of, and has seen the notice. */
export interface SeenBrowserRecord {
  /** In hexadecimal. */
  readonly device: string
}

/** The newest of the person's own vault and key chain that this browser has seen. */
export interface SeenRecord {
  readonly vaultVersion: number
  /** The identity is that of the place. */
  readonly chain: { readonly identityPublic: Bytes; readonly seq: number; readonly head: Bytes } | null
}

/** What stays while the account is locked: this browser's place on the key chain, to be taken up again. */
export interface DeviceRecord {
  readonly identityPublic: Bytes
  readonly device: StoredDevice
}

export interface SecureChatSchema extends DBSchema {
  account: { key: 'self'; value: AccountRecord }
  device: { key: 'self'; value: DeviceRecord }
  outbox: { key: string; value: OutboxRecord; indexes: { conversation: string } }
  drafts: { key: string; value: DraftRecord }
  positions: { key: string; value: PositionRecord }
  pins: { key: string; value: PinRecord }
  seenBrowsers: { key: string; value: SeenBrowserRecord }
  seen: { key: 'self'; value: SeenRecord }
}

export type Database = IDBPDatabase<SecureChatSchema>

/** The browser keeps nothing for this page: private browsing, a full disk, or storage switched off. */
export class StorageRefused extends Error {
  override readonly name = 'StorageRefused'
}

const VERSION = 3

export function databaseName(name: string): string {
  return `securechat-${name.toLowerCase()}`
}

/** Opens the person's database, made at the first time. Throws `StorageRefused` where the browser has none. */
export async function openDatabase(name: string): Promise<Database> {
  if (typeof indexedDB === 'undefined') throw new StorageRefused('This browser has no IndexedDB.')
  try {
    return await openDB<SecureChatSchema>(databaseName(name), VERSION, {
      upgrade(database, before, _after, transaction) {
        if (before < 1) {
          database.createObjectStore('account')
          database.createObjectStore('device')
          database
            .createObjectStore('outbox', { keyPath: 'clientId' })
            .createIndex('conversation', 'conversation')
          database.createObjectStore('drafts', { keyPath: 'conversation' })
          database.createObjectStore('positions', { keyPath: 'conversation' })
          database.createObjectStore('pins', { keyPath: 'conversation' })
        }
        if (before < 2) {
          database.createObjectStore('seenBrowsers', { keyPath: 'device' })
          // Their form changed; keys and pins come back with the next log-in.
          void transaction.objectStore('account').clear()
          void transaction.objectStore('pins').clear()
        }
        if (before < 3) database.createObjectStore('seen')
      },
      blocking(_current, _next, event) {
        // Another tab deletes or upgrades it: let go instead of making that tab wait for ever.
        ;(event.target as IDBDatabase).close()
      },
    })
  } catch (error) {
    throw new StorageRefused('This browser refused to store data.', { cause: error })
  }
}

/**
 * Tries whether this browser keeps keys at all, in a database of its own, before anything is promised to the server.
 *
 * Some browsers open a database in a private window and fail only when a key is put into it.
 */
export async function assureStorage(key: CryptoKey): Promise<void> {
  const probe = 'securechat:probe'
  try {
    const database = await openDB(probe, 1, {
      upgrade(made) {
        made.createObjectStore('keys')
      },
    })
    await database.put('keys', key, 'probe')
    database.close()
    await deleteDB(probe)
  } catch (error) {
    throw new StorageRefused('This browser refused to store keys.', { cause: error })
  }
}

/** Removes everything this browser knows about the person. */
export async function removeDatabase(name: string): Promise<void> {
  await deleteDB(databaseName(name))
}
