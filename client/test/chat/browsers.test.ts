import 'fake-indexeddb/auto'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type AccountTools, prepareSignUp, type PreparedSignUp, signUp } from '../../src/chat/account_session'
import { retireThisBrowser } from '../../src/chat/browsers'
import { ed25519 } from '../../src/crypto/ed25519'
import { ChainRolledBack, IdentityChanged, UnknownDevice } from '../../src/crypto/errors'
import {
  hasActiveDevice,
  hasDevice,
  newestAccountKey,
  positionOfChain,
  signChainEntry,
  type VerifiedChain,
  verifyKeyChain,
} from '../../src/crypto/key_chain'
import { openDatabase, removeDatabase } from '../../src/store/database'
import { noteSeen } from '../../src/store/seen'
import { type Bytes, concat, fromBase64url, systemRandom, toBase64url } from '../../src/wire/bytes'
import { AccountServer, type Keys } from './account_server'

const ORIGIN = 'https://localhost:8443'
const NAME = 'alice1'
const NOW = 1_700_000_000_000

let server: AccountServer
let alice: PreparedSignUp

beforeEach(async () => {
  server = new AccountServer()
  alice = await signedUp(server)
})

afterEach(() => removeDatabase(NAME))

async function signedUp(at: AccountServer): Promise<PreparedSignUp> {
  const tools: AccountTools = {
    api: at.api(),
    origin: ORIGIN,
    stretch: unsafeCheapStretchForTests,
    random: systemRandom,
    now: () => NOW,
    onStep: () => undefined,
  }
  const prepared = await prepareSignUp({ username: 'Alice1', password: 'Blue7-Harbour' }, tools)
  await signUp(prepared, { retry: false, invite: null }, tools)
  return prepared
}

async function unsafeCheapStretchForTests(input: { password: Bytes; salt: Bytes }): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', concat(input.password, input.salt)))
}

function keysAt(where: AccountServer): Keys {
  const keys = where.accounts.get(NAME)?.keys
  if (!keys) throw new Error('no keys')
  return keys
}

function chainAt(where: AccountServer): Promise<VerifiedChain> {
  return verifyKeyChain(keysAt(where).chain.map(fromBase64url), { origin: ORIGIN, name: NAME })
}

function retire(): Promise<void> {
  return retireThisBrowser({ api: server.api(), origin: ORIGIN, name: NAME, now: () => NOW })
}

test('a browser that is logged out ends on the key chain, and once is enough', async () => {
  const { id } = alice.browser.device

  await retire()
  await retire()

  const chain = await chainAt(server)
  expect(chain.seq).toBe(3)
  expect([hasDevice(chain, id), hasActiveDevice(chain, id)]).toEqual([true, false])
})

test('a key chain without this browser does not pass for one on which it ended', async () => {
  keysAt(server).chain.splice(1)

  await expect(retire()).rejects.toThrow(UnknownDevice)
})

test('a key chain of another identity does not', async () => {
  const foreign = keysAt(server).chain
  await removeDatabase(NAME)
  server = new AccountServer()
  await signedUp(server)
  keysAt(server).chain = foreign

  await expect(retire()).rejects.toThrow(IdentityChanged)
})

test('a forged fresh start does not', async () => {
  const chain = await chainAt(server)
  const seed = systemRandom(32)
  const payload = {
    kind: 'reset',
    origin: ORIGIN,
    name: NAME,
    identityPublic: await (await ed25519()).publicOf(seed),
    generation: 2,
    accountPublic: newestAccountKey(chain).publicKey,
  } as const
  const previous = positionOfChain(chain)
  const entry = await signChainEntry({ previous, payload, key: { kind: 'seed', seed }, at: NOW })
  keysAt(server).chain.push(toBase64url(entry))

  await expect(retire()).rejects.toThrow(IdentityChanged)
})

test('an older key chain than this browser has seen does not', async () => {
  const { identityPublic } = await chainAt(server)
  const database = await openDatabase(NAME)
  await noteSeen(database, { chain: { identityPublic, seq: 9, head: new Uint8Array(32) } })
  database.close()

  await expect(retire()).rejects.toThrow(ChainRolledBack)
})
