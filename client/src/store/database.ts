/**
 * The browser's own database: one for each person who signs in here, so that nobody finds another's.
 *
 * Everything in it is a cache: browsers may delete it, and the vault brings the keys back.
 */
import { deleteDB, openDB, type DBSchema, type IDBPDatabase } from 'idb'

/** This browser's keys for the person. The three keys cannot be read out, only used. */
export interface AccountRecord {
  /** The name as it was typed at sign-up. */
  readonly username: string
  readonly identityPublic: Uint8Array
  readonly deviceId: Uint8Array
  readonly devicePublic: Uint8Array
  /** Ed25519, signs messages, epochs and heads. */
  readonly deviceKey: CryptoKey
  /** AES-256-GCM, opens and seals the vault. */
  readonly vaultKey: CryptoKey
  /** AES-256-GCM, for what waits in this browser: drafts and the outbox. */
  readonly localKey: CryptoKey
}

/** A message that waits to be sent; its content is boxed with `localKey`. */
export interface OutboxRecord {
  readonly clientId: string
  readonly conversation: string
  readonly createdAt: number
  readonly box: Uint8Array
  readonly attempts: number
}

/** Text that was typed and not sent, boxed with `localKey`. */
export interface DraftRecord {
  readonly conversation: string
  readonly updatedAt: number
  readonly box: Uint8Array
}

/** How far a conversation's log was checked, and read, in this browser. */
export interface PositionRecord {
  readonly conversation: string
  readonly checkedN: number
  readonly logHash: Uint8Array
  readonly readN: number
}

/** What this browser knows of a friend's identity, as in the vault. */
export interface PinRecord {
  readonly conversation: string
  readonly identityPublic: Uint8Array
  readonly fingerprint: Uint8Array
  readonly verified: boolean
  readonly seq: number
  readonly head: Uint8Array
}

/** A browser that was signed out: its place on the key chain, to be taken up again at the next log-in. */
export interface DeviceRecord {
  readonly identityPublic: Uint8Array
  readonly deviceId: Uint8Array
  readonly devicePublic: Uint8Array
  readonly deviceKey: CryptoKey
}

export interface SecureChatSchema extends DBSchema {
  account: { key: 'self'; value: AccountRecord }
  device: { key: 'self'; value: DeviceRecord }
  outbox: { key: string; value: OutboxRecord; indexes: { conversation: string } }
  drafts: { key: string; value: DraftRecord }
  positions: { key: string; value: PositionRecord }
  pins: { key: string; value: PinRecord }
}

export type Database = IDBPDatabase<SecureChatSchema>

/** The browser keeps nothing for this page: private browsing, a full disk, or storage switched off. */
export class StorageRefused extends Error {
  override readonly name = 'StorageRefused'
}

const VERSION = 1

export function databaseName(name: string): string {
  return `securechat-${name.toLowerCase()}`
}

/** Opens the person's database, made at the first time. Throws `StorageRefused` where the browser has none. */
export async function openDatabase(name: string): Promise<Database> {
  if (typeof indexedDB === 'undefined') throw new StorageRefused('This browser has no IndexedDB.')
  try {
    return await openDB<SecureChatSchema>(databaseName(name), VERSION, {
      upgrade(database) {
        database.createObjectStore('account')
        database.createObjectStore('device')
        database
          .createObjectStore('outbox', { keyPath: 'clientId' })
          .createIndex('conversation', 'conversation')
        database.createObjectStore('drafts', { keyPath: 'conversation' })
        database.createObjectStore('positions', { keyPath: 'conversation' })
        database.createObjectStore('pins', { keyPath: 'conversation' })
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

/** Removes everything this browser knows about the person. */
export async function removeDatabase(name: string): Promise<void> {
  await deleteDB(databaseName(name))
}
