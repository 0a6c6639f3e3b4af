import 'fake-indexeddb/auto'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  type AccountTools,
  changePassword,
  checkRecoveryCode,
  confirmRecoveryCode,
  logIn,
  OtherIdentity,
  prepareSignUp,
  type PreparedSignUp,
  recover,
  RecoveryUncertain,
  replaceRecoveryCode,
  signUp,
  type Step,
} from '../../src/chat/account_session'
import { DoorClosed } from '../../src/crypto/errors'
import { authKey, normalisePassword, passwordSalt } from '../../src/crypto/password'
import { ApiRefused, ApiUnreachable } from '../../src/net/api'
import { forgetEverything, loadAccount, lockAccount } from '../../src/store/account_store'
import {
  type AccountRecord,
  type Database,
  openDatabase,
  removeDatabase,
  StorageRefused,
} from '../../src/store/database'
import { type Bytes, concat, fromBase64url, systemRandom, toHex } from '../../src/wire/bytes'
import { encodeKeys } from '../../src/wire/api'
import { AccountServer, type Keys, lostAnswer, once, refusal } from './account_server'

const ALICE = { username: 'Alice1', password: 'Blue7-Harbour' }
const ORIGIN = 'https://localhost:8443'

let server: AccountServer
let steps: Step[]
let tools: AccountTools

beforeEach(() => {
  server = new AccountServer()
  steps = []
  tools = {
    api: server.api(),
    origin: ORIGIN,
    stretch: unsafeCheapStretchForTests,
    random: systemRandom,
    now: () => 1_700_000_000_000,
    onStep: (step) => steps.push(step),
  }
})

afterEach(async () => {
  await removeDatabase('alice1')
})

async function unsafeCheapStretchForTests(input: { password: Bytes; salt: Bytes }): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', concat(input.password, input.salt)))
}

async function stored(): Promise<AccountRecord | undefined> {
  const database = await openDatabase('alice1')
  const account = await loadAccount(database)
  database.close()
  return account
}

async function signUpAlice(): Promise<PreparedSignUp> {
  const prepared = await prepareSignUp(ALICE, tools)
  await signUp(prepared, { retry: false }, tools)
  return prepared
}

async function inDatabase(act: (database: Database) => Promise<void>): Promise<void> {
  const database = await openDatabase('alice1')
  await act(database)
  database.close()
}

function chainLength(): number | undefined {
  return server.accounts.get('alice1')?.keys?.chain.length
}

function logInAlice(options = { forget: false }, password = ALICE.password) {
  return logIn({ ...ALICE, password }, { next: '/chat/', ...options }, tools)
}

async function deviceOfBrowser(): Promise<string> {
  return toHex((await stored())?.browser.device.id ?? new Uint8Array())
}

test('a sign-up leaves this browser with keys and the server with none of the secrets', async () => {
  const prepared = await signUpAlice()

  expect((await stored())?.browser.identityPublic).toEqual(prepared.browser.identityPublic)
  expect((await stored())?.username).toBe('Alice1')
  expect(JSON.stringify([...server.accounts.values()])).not.toContain(ALICE.password)
  expect(steps).toEqual(['asking', 'stretching', 'making_keys', 'sending'])
})

test('a sign-up whose answer was lost is finished by the next attempt, with the same recovery code', async () => {
  const prepared = await prepareSignUp(ALICE, tools)
  server.after = once('/api/sign-up/', lostAnswer())
  await expect(signUp(prepared, { retry: false }, tools)).rejects.toThrow(ApiUnreachable)

  await signUp(prepared, { retry: true }, tools)

  expect((await stored())?.browser.device.id).toEqual(prepared.browser.device.id)
})

test('a retried sign-up never takes over a name that belongs to somebody else', async () => {
  await signUpAlice()
  await removeDatabase('alice1')
  const mallory = await prepareSignUp({ ...ALICE, password: 'Other8-Harbour' }, tools)

  await expect(signUp(mallory, { retry: true }, tools)).rejects.toThrow(ApiRefused)

  expect(await stored()).toBeUndefined()
})

test('nothing is sent when the browser keeps no data', async () => {
  const original = globalThis.indexedDB
  Object.defineProperty(globalThis, 'indexedDB', { value: undefined, configurable: true })

  await expect(prepareSignUp(ALICE, tools)).rejects.toThrow(StorageRefused)
  await expect(logInAlice()).rejects.toThrow(StorageRefused)

  expect(server.requests).toEqual([])
  Object.defineProperty(globalThis, 'indexedDB', { value: original, configurable: true })
})

test('a new browser gets a device of its own and the same identity', async () => {
  const first = await signUpAlice()
  await removeDatabase('alice1')

  const signedIn = await logInAlice()

  expect(signedIn).toEqual({ username: 'Alice1', recoveryCode: null, nextAllowed: true })
  expect((await stored())?.browser.identityPublic).toEqual(first.browser.identityPublic)
  expect(await deviceOfBrowser()).not.toBe(toHex(first.browser.device.id))
  expect(chainLength()).toBe(3)
})

test('a locked browser takes its old place on the key chain up again', async () => {
  const first = await signUpAlice()
  await inDatabase(lockAccount)
  expect(await stored()).toBeUndefined()

  await logInAlice()

  expect(await deviceOfBrowser()).toBe(toHex(first.browser.device.id))
  expect(chainLength()).toBe(2)
})

test('a browser that was logged out comes back as a new one', async () => {
  const first = await signUpAlice()
  await inDatabase(forgetEverything)

  await logInAlice()

  expect(await deviceOfBrowser()).not.toBe(toHex(first.browser.device.id))
  expect(chainLength()).toBe(3)
})

test('logging in twice keeps the key that drafts are boxed with', async () => {
  await signUpAlice()
  const before = (await stored())?.browser.localKey as CryptoKey
  const nonce = new Uint8Array(12)
  const box = await crypto.subtle.encrypt({ name: 'AES-GCM', iv: nonce }, before, new Uint8Array(3))

  await logInAlice()

  const after = (await stored())?.browser.localKey as CryptoKey
  expect(await crypto.subtle.decrypt({ name: 'AES-GCM', iv: nonce }, after, box)).toHaveProperty(
    'byteLength',
    3,
  )
})

test('when another browser joins at the same moment, this one tries again behind it', async () => {
  await signUpAlice()
  await removeDatabase('alice1')
  server.before = once('/api/key-chain/', refusal(409, 'chain_conflict'))

  await logInAlice()

  expect(server.requests.slice(-3)).toEqual([
    'POST /api/key-chain/',
    'GET /api/keys/',
    'POST /api/key-chain/',
  ])
  expect(await stored()).toBeDefined()
})

test('a wrong password is one refusal and stores nothing', async () => {
  await signUpAlice()
  await removeDatabase('alice1')

  await expect(logInAlice(undefined, 'Wrong-7-word')).rejects.toMatchObject({ code: 'wrong_credentials' })

  expect(await stored()).toBeUndefined()
})

test('somebody without keys gets them at the first log-in, and a recovery code', async () => {
  await createWithoutKeys()

  const signedIn = await logInAlice()

  expect(signedIn.recoveryCode).toHaveLength(20)
  expect(chainLength()).toBe(2)
  expect(await stored()).toBeDefined()
})

test('when another tab makes the first keys, this tab uses those', async () => {
  await createWithoutKeys()
  const otherTab = await prepareSignUp(ALICE, tools)
  server.before = (path) => {
    const account = server.accounts.get('alice1')
    if (path !== '/api/keys/' || account === undefined || account.keys !== null) return
    account.keys = keysOnTheWire(otherTab)
  }

  const signedIn = await logInAlice()

  expect(signedIn.recoveryCode).toBeNull()
  expect((await stored())?.browser.identityPublic).toEqual(otherTab.browser.identityPublic)
})

test('a password that was changed on the command line opens no door, and says so', async () => {
  await signUpAlice()
  const account = server.accounts.get('alice1')
  if (account?.keys) account.keys.doors = account.keys.doors.filter(({ kind }) => kind !== 'password')

  await expect(logInAlice()).rejects.toThrow(DoorClosed)
})

test('another identity under the same name is an alarm, until the person says to forget the old one', async () => {
  await signUpAlice()
  server.accounts.clear()
  const impostor = await prepareSignUp(ALICE, tools)
  await tools.api.request('POST', '/api/sign-up/', {
    username: 'Alice1',
    auth_key: impostor.authKey,
    keys: keysOnTheWire(impostor),
  })

  await expect(logInAlice()).rejects.toThrow(OtherIdentity)
  expect((await stored())?.browser.identityPublic).not.toEqual(impostor.browser.identityPublic)
  await logInAlice({ forget: true })

  expect((await stored())?.browser.identityPublic).toEqual(impostor.browser.identityPublic)
})

test('the recovery code sets a new password, brings the identity back and is replaced', async () => {
  const first = await signUpAlice()
  await removeDatabase('alice1')

  const code = first.recoveryCode
  const recovered = await recover({ username: 'alice1', password: 'New-8-Harbour', code }, tools)

  expect(recovered.username).toBe('Alice1')
  expect(recovered.newCode).not.toEqual(code)
  expect((await stored())?.browser.identityPublic).toEqual(first.browser.identityPublic)
  await logInAlice(undefined, 'New-8-Harbour')
  await expect(recover({ ...ALICE, code }, tools)).rejects.toThrow(DoorClosed)
})

test('a recovery whose last answer was lost says that nobody knows', async () => {
  const { recoveryCode: code } = await signUpAlice()
  server.after = once('/api/recovery/finish/', lostAnswer())

  await expect(recover({ ...ALICE, password: 'New-8-Harbour', code }, tools)).rejects.toThrow(
    RecoveryUncertain,
  )
})

test('a changed password opens the same account, and the old one no longer does', async () => {
  const first = await signUpAlice()

  await changePassword({ ...ALICE, newPassword: 'New-8-Harbour' }, tools)

  await removeDatabase('alice1')
  await expect(logInAlice()).rejects.toMatchObject({ code: 'wrong_credentials' })
  await logInAlice(undefined, 'New-8-Harbour')
  expect((await stored())?.browser.identityPublic).toEqual(first.browser.identityPublic)
})

test('a password change that meets a newer vault is made again on top of it', async () => {
  await signUpAlice()
  server.before = once('/api/password/', refusal(409, 'vault_conflict'))

  await changePassword({ ...ALICE, newPassword: 'New-8-Harbour' }, tools)

  expect(server.requests.filter((request) => request === 'POST /api/password/')).toHaveLength(2)
})

test('a new recovery code needs the password and replaces the old one', async () => {
  const first = await signUpAlice()
  const wrong = { ...ALICE, password: 'Wrong-7-word' }

  await expect(replaceRecoveryCode(wrong, tools)).rejects.toThrow(DoorClosed)
  const newCode = await replaceRecoveryCode(ALICE, tools)

  const keys = (await stored())?.browser
  if (keys === undefined) throw new Error('not stored')
  await expect(checkRecoveryCode(keys, first.recoveryCode, tools.api)).rejects.toThrow(DoorClosed)
  expect(server.accounts.get('alice1')?.recoveryConfirmed).toBe(false)
  await checkRecoveryCode(keys, newCode, tools.api)
  expect(server.accounts.get('alice1')?.recoveryConfirmed).toBe(true)
})

test('confirming tells the server, which then stops reminding', async () => {
  await signUpAlice()

  await confirmRecoveryCode(tools.api)

  expect(server.accounts.get('alice1')?.recoveryConfirmed).toBe(true)
})

function keysOnTheWire(prepared: PreparedSignUp): Keys {
  return encodeKeys(prepared.keys) as Keys
}

async function createWithoutKeys(): Promise<void> {
  const clientSalt = fromBase64url('A'.repeat(43))
  const salt = await passwordSalt({ origin: ORIGIN, name: 'alice1', clientSalt })
  const stretched = await unsafeCheapStretchForTests({ password: normalisePassword(ALICE.password), salt })
  server.create('Alice1', await authKey(stretched), 'A'.repeat(43))
}
