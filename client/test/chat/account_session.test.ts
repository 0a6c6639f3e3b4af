import 'fake-indexeddb/auto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
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
import { importAesKey } from '../../src/crypto/box'
import { publicDoors } from '../../src/crypto/account'
import { type DoorKey, sealDoor } from '../../src/crypto/doors'
import { ed25519 } from '../../src/crypto/ed25519'
import { ChainRolledBack, DoorClosed, VaultAltered, VaultRolledBack } from '../../src/crypto/errors'
import { publicOfSeed } from '../../src/crypto/hpke'
import {
  extendKeyChain,
  newestAccountKey,
  positionOfChain,
  signChainEntry,
  verifyKeyChain,
} from '../../src/crypto/key_chain'
import { authKey, normalisePassword, passwordDoor, passwordSalt } from '../../src/crypto/password'
import { recoveryDoor } from '../../src/crypto/recovery_code'
import { EMPTY_VAULT, sealVault } from '../../src/crypto/vault'
import { ApiRefused, ApiUnreachable } from '../../src/net/api'
import { forgetEverything, loadAccount, loadDevice, lockAccount } from '../../src/store/account_store'
import {
  type AccountRecord,
  type Database,
  type DeviceRecord,
  openDatabase,
  removeDatabase,
  StorageRefused,
} from '../../src/store/database'
import { noteSeen } from '../../src/store/seen'
import { encodeDoor, encodeKeys, encodeVault } from '../../src/wire/api'
import { type Bytes, concat, fromBase64url, systemRandom, toBase64url, toHex } from '../../src/wire/bytes'
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
  await signUp(prepared, { retry: false, invite: null }, tools)
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
  await expect(signUp(prepared, { retry: false, invite: null }, tools)).rejects.toThrow(ApiUnreachable)

  await signUp(prepared, { retry: true, invite: null }, tools)

  expect((await stored())?.browser.device.id).toEqual(prepared.browser.device.id)
})

test('a retried sign-up never takes over a name that belongs to somebody else', async () => {
  await signUpAlice()
  await removeDatabase('alice1')
  const mallory = await prepareSignUp({ ...ALICE, password: 'Other8-Harbour' }, tools)

  await expect(signUp(mallory, { retry: true, invite: null }, tools)).rejects.toThrow(ApiRefused)

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
  const recovered = await recover(
    { username: 'alice1', password: 'New-8-Harbour', code },
    { forget: false },
    tools,
  )

  expect(recovered.username).toBe('Alice1')
  expect(recovered.newCode).not.toEqual(code)
  expect((await stored())?.browser.identityPublic).toEqual(first.browser.identityPublic)
  await logInAlice(undefined, 'New-8-Harbour')
  await expect(recover({ ...ALICE, code }, { forget: false }, tools)).rejects.toThrow(DoorClosed)
})

test('a recovery whose last answer was lost says that nobody knows', async () => {
  const { recoveryCode: code } = await signUpAlice()
  server.after = once('/api/recovery/finish/', lostAnswer())

  await expect(
    recover({ ...ALICE, password: 'New-8-Harbour', code }, { forget: false }, tools),
  ).rejects.toThrow(RecoveryUncertain)
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

describe('a server that seals other keys to the door', () => {
  test('opens no browser with them, not even one that never knew this person', async () => {
    const { recoveryCode: code } = await signUpAlice()
    await forgeKeys()

    await expect(logInAlice()).rejects.toThrow(VaultAltered)
    await removeDatabase('alice1')
    await expect(logInAlice()).rejects.toThrow(VaultAltered)
    const recovery = { ...ALICE, password: 'New-8-Harbour', code }
    await expect(recover(recovery, { forget: false }, tools)).rejects.toThrow(VaultAltered)

    expect(await stored()).toBeUndefined()
  })

  test('takes over no browser that has kept the identity, even if it knows the password', async () => {
    const first = await signUpAlice()
    await forgeKeys(await aliceDoors(first.recoveryCode))

    await expect(logInAlice()).rejects.toThrow(OtherIdentity)
    await inDatabase(lockAccount)
    await expect(logInAlice()).rejects.toThrow(OtherIdentity)

    expect(toHex((await deviceKept()).device.id)).toBe(toHex(first.browser.device.id))
  })

  test('gets nothing from a recovery, a new password or a new code either', async () => {
    const { recoveryCode: code } = await signUpAlice()
    await forgeKeys(await aliceDoors(code))

    const newPassword = 'New-8-Harbour'
    await expect(
      recover({ ...ALICE, password: newPassword, code }, { forget: false }, tools),
    ).rejects.toThrow(OtherIdentity)
    await expect(changePassword({ ...ALICE, newPassword }, tools)).rejects.toThrow(OtherIdentity)
    await expect(replaceRecoveryCode(ALICE, tools)).rejects.toThrow(OtherIdentity)
  })

  test('cannot say that there are no keys yet', async () => {
    await signUpAlice()
    const account = server.accounts.get('alice1')
    if (account) account.keys = null

    await expect(logInAlice()).rejects.toThrow(OtherIdentity)
  })
})

test('a log-in takes no older vault than this browser has seen, and no shorter chain', async () => {
  await signUpAlice()
  const old = server.accounts.get('alice1')?.keys?.vault
  await inDatabase((database) => noteSeen(database, { vaultVersion: 5 }))
  await expect(logInAlice()).rejects.toThrow(VaultRolledBack)
  expect(old?.version).toBe(1)

  await logInAlice({ forget: true })
  const chain = { identityPublic: (await deviceKept()).identityPublic, seq: 9, head: new Uint8Array(32) }
  await inDatabase((database) => noteSeen(database, { chain }))

  await expect(logInAlice()).rejects.toThrow(ChainRolledBack)
})

test('a new account under the name of an old one leaves nothing of the old one here', async () => {
  await signUpAlice()
  await inDatabase((database) => noteSeen(database, { vaultVersion: 5 }))
  server.accounts.clear()

  await signUpAlice()

  await logInAlice()
})

/** Another identity behind the person's own doors, with a `reset` on their own chain. Without `made`, all that a server can do. */
async function forgeKeys(made: readonly DoorKey[] = []): Promise<void> {
  const account = server.accounts.get('alice1')
  if (!account?.keys) throw new Error('no keys')
  const { keys } = account
  const [name, before] = ['alice1', keys.chain.map(fromBase64url)]
  const real = await verifyKeyChain(before, { origin: ORIGIN, name })
  const [identitySeed, accountSeed, vaultKey] = [systemRandom(32), systemRandom(32), systemRandom(32)]
  const identityPublic = await (await ed25519()).publicOf(identitySeed)
  const generation = newestAccountKey(real).generation + 1
  const accountPublic = await publicOfSeed(accountSeed)
  const payload = { kind: 'reset', origin: ORIGIN, name, identityPublic, generation, accountPublic } as const
  const key = { kind: 'seed', seed: identitySeed } as const
  const entry = await signChainEntry({ previous: positionOfChain(real), payload, key, at: 1 })
  const chain = positionOfChain(await extendKeyChain(real, [entry]))
  const guessed = (keys.doors as unknown as { kind: 'password' | 'recovery'; public: string }[]).map(
    (door) => ({ kind: door.kind, publicKey: fromBase64url(door.public), tag: systemRandom(32) }),
  )
  const doors = made.length > 0 ? await publicDoors(made, { name, identityPublic }) : guessed
  const content = {
    ...EMPTY_VAULT,
    identityPublic,
    accountKeys: [{ generation, seed: accountSeed }],
    doors,
    chain,
  }
  const sealed = { vaultKey: await importAesKey(vaultKey), name, version: 99, content, random: systemRandom }
  account.keys = {
    ...keys,
    chain: [...keys.chain, toBase64url(entry)],
    doors: (await Promise.all(
      doors.map(async (door) => encodeDoor(await sealDoor(door, name, { vaultKey, identitySeed }))),
    )) as Keys['doors'],
    vault: encodeVault(await sealVault(sealed)) as Keys['vault'],
  }
}

async function deviceKept(): Promise<DeviceRecord> {
  const database = await openDatabase('alice1')
  const kept = await loadDevice(database)
  database.close()
  if (kept === undefined) throw new Error('nothing kept')
  return kept
}

function keysOnTheWire(prepared: PreparedSignUp): Keys {
  return encodeKeys(prepared.keys) as Keys
}

async function aliceDoors(recoveryCode: Bytes): Promise<DoorKey[]> {
  return [await passwordDoor(await aliceStretched()), await recoveryDoor(recoveryCode)]
}

async function aliceStretched(): Promise<Bytes> {
  const clientSalt = fromBase64url('A'.repeat(43))
  const salt = await passwordSalt({ origin: ORIGIN, name: 'alice1', clientSalt })
  return unsafeCheapStretchForTests({ password: normalisePassword(ALICE.password), salt })
}

async function createWithoutKeys(): Promise<void> {
  const stretched = await aliceStretched()
  server.create('Alice1', await authKey(stretched), 'A'.repeat(43))
}
