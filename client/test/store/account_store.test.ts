import 'fake-indexeddb/auto'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  countUnsent,
  forgetEverything,
  isLocked,
  loadAccount,
  loadDevice,
  lockAccount,
  saveAccount,
} from '../../src/store/account_store'
import {
  assureStorage,
  databaseName,
  openDatabase,
  removeDatabase,
  StorageRefused,
  type AccountRecord,
  type Database,
} from '../../src/store/database'

let database: Database

beforeEach(async () => {
  database = await openDatabase('Alice1')
})

afterEach(async () => {
  database.close()
  await removeDatabase('Alice1')
})

async function aesKey(): Promise<CryptoKey> {
  return crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt'])
}

async function someAccount(): Promise<AccountRecord> {
  const pair = await crypto.subtle.generateKey({ name: 'Ed25519' }, false, ['sign', 'verify'])
  return {
    username: 'Alice1',
    browser: {
      origin: 'https://localhost:8443',
      name: 'alice1',
      identityPublic: new Uint8Array(32).fill(1),
      device: {
        id: new Uint8Array(16).fill(2),
        publicKey: new Uint8Array(32).fill(3),
        key: { kind: 'webcrypto', privateKey: pair.privateKey },
      },
      vaultGeneration: 1,
      vaultKey: await aesKey(),
      localKey: await aesKey(),
    },
  }
}

test('a name in another case is the same database', () => {
  expect(databaseName('Alice1')).toBe(databaseName('alice1'))
})

test('the keys come back usable and cannot be read out', async () => {
  await saveAccount(database, await someAccount())

  const keys = (await loadAccount(database))?.browser

  if (keys?.device.key.kind !== 'webcrypto') throw new Error('not stored')
  expect(keys.device.key.privateKey.extractable).toBe(false)
  await expect(crypto.subtle.exportKey('raw', keys.vaultKey)).rejects.toThrow()
  await crypto.subtle.sign('Ed25519', keys.device.key.privateKey, new Uint8Array(1))
})

async function keepSomeWork(): Promise<void> {
  const waiting = { conversation: 'c', createdAt: 0, box: new Uint8Array(1), owner: 'tab', failure: null }
  await database.put('outbox', { clientId: 'a', ...waiting })
  await database.put('drafts', { conversation: 'c', updatedAt: 0, box: new Uint8Array(1) })
}

test('a lock takes the keys and keeps the work and the place on the key chain', async () => {
  await saveAccount(database, await someAccount())
  await keepSomeWork()
  expect(await isLocked(database)).toBe(false)

  await lockAccount(database)

  expect(await loadAccount(database)).toBeUndefined()
  expect(await isLocked(database)).toBe(true)
  expect(await countUnsent(database)).toBe(1)
  expect(await database.count('drafts')).toBe(1)
  expect((await loadDevice(database))?.device.id).toEqual(new Uint8Array(16).fill(2))
})

test('a log-out takes everything', async () => {
  await saveAccount(database, await someAccount())
  await keepSomeWork()

  await forgetEverything(database)

  const counts = await Promise.all([...database.objectStoreNames].map((store) => database.count(store)))
  expect(counts.every((count) => count === 0)).toBe(true)
  expect(await isLocked(database)).toBe(false)
})

test('removing the database does not wait for other tabs', async () => {
  const otherTab = await openDatabase('Alice1')

  await removeDatabase('Alice1')

  expect(() => otherTab.transaction('account')).toThrow()
})

test('a browser without storage is told apart from a bug', async () => {
  const original = globalThis.indexedDB
  Object.defineProperty(globalThis, 'indexedDB', { value: undefined, configurable: true })

  await expect(openDatabase('Alice1')).rejects.toThrow(StorageRefused)
  await expect(assureStorage(await aesKey())).rejects.toThrow(StorageRefused)

  Object.defineProperty(globalThis, 'indexedDB', { value: original, configurable: true })
})

test('a probe of the storage leaves nothing behind', async () => {
  await assureStorage(await aesKey())

  expect((await indexedDB.databases()).map((found) => found.name)).toEqual([databaseName('alice1')])
})
