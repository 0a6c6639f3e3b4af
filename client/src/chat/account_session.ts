/**
 * What a person does with the account: sign up, log in, recover, change the password or the recovery code.
 *
 * Everything from outside is passed in. A function either ends with this browser's keys stored and the server agreeing,
 * or throws; after a throw it may simply be called again.
 */
import {
  addDevice,
  type BrowserKeys,
  changePassword as sealForNewPassword,
  checkRecoveryCode as fitsAccount,
  createAccount,
  finishRecovery,
  keysForDevice,
  replaceRecoveryCode as sealForNewCode,
  rotateWhenOld,
  type Unlocked,
  unlockAccount,
} from '../crypto/account'
import { type DoorKey } from '../crypto/doors'
import { DoorClosed } from '../crypto/errors'
import { hasActiveDevice, requirePinned } from '../crypto/key_chain'
import { resetAccount } from '../crypto/key_renewal'
import { createLocalKey } from '../crypto/local_box'
import { authKey, legacyPassword, normalisePassword, passwordDoor, passwordSalt } from '../crypto/password'
import { newRecoveryCode, recoveryDoor, recoveryHash, recoveryProof } from '../crypto/recovery_code'
import { checkVaultVersion, openVault } from '../crypto/vault'
import { type Api, ApiRefused, ApiUnreachable } from '../net/api'
import { forgetEverything, loadDevice, saveAccount } from '../store/account_store'
import { assureStorage, type Database, openDatabase, type SeenRecord } from '../store/database'
import { loadSeen } from '../store/seen'
import {
  decodeKeys,
  decodeLoggedIn,
  decodeLogInParameters,
  decodePasswordChanged,
  decodeRecoveryBegun,
  decodeRecoveryFinished,
  decodeReset,
  decodeSignedUp,
  decodeVault,
  encodeChainEntries,
  encodeDevice,
  encodeKeys,
  encodeLogIn,
  encodePasswordChange,
  encodeRecoveryBegin,
  encodeRecoveryCode,
  encodeRecoveryFinish,
  encodeReset,
  encodeSignUp,
  type KeysUpload,
  type StoredKeys,
} from '../wire/api'
import { type Bytes, equal, type Random } from '../wire/bytes'

export type Step = 'asking' | 'stretching' | 'making_keys' | 'opening' | 'sending'

export interface AccountTools {
  readonly api: Api
  readonly origin: string
  readonly stretch: (input: { readonly password: Bytes; readonly salt: Bytes }) => Promise<Bytes>
  readonly random: Random
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly onStep: (step: Step) => void
}

export interface Credentials {
  readonly username: string
  readonly password: string
}

/** The keys that the server shows belong to another identity than those this browser has kept for the name. */
export class OtherIdentity extends Error {
  override readonly name = 'OtherIdentity'

  constructor() {
    super('The server shows another identity for this account than this browser has kept.')
  }
}

/** Nobody knows whether the server took the new password: the answer was lost. */
export class RecoveryUncertain extends Error {
  override readonly name = 'RecoveryUncertain'
}

/** Keys that were made for a sign-up, kept so that a second attempt sends the same ones. */
export interface PreparedSignUp {
  readonly username: string
  readonly password: string
  readonly authKey: string
  readonly stretched: Bytes
  readonly recoveryCode: Bytes
  readonly keys: KeysUpload
  readonly browser: BrowserKeys
}

export interface SignedIn {
  /** As it was typed at sign-up. */
  readonly username: string
  /** A code that was made just now and has to be shown, or null. */
  readonly recoveryCode: Bytes | null
  readonly nextAllowed: boolean
}

export interface Fresh {
  /** As it was typed at sign-up. */
  readonly username: string
  readonly recoveryCode: Bytes
}

export interface Recovered {
  /** As it was typed at sign-up. */
  readonly username: string
  readonly newCode: Bytes
}

/** How often something is made again because another browser was faster. */
export const MAX_ATTEMPTS = 4

/** The protocol's form of a name; the server's `accounts.names.fold` does the same. */
export function foldedName(username: string): string {
  return username.toLowerCase()
}

/** Makes everything a sign-up sends. Nothing leaves the browser but the question for the salt. */
export async function prepareSignUp(who: Credentials, tools: AccountTools): Promise<PreparedSignUp> {
  await assureStorage(await createLocalKey())
  const { stretched } = await stretchFor(who, tools)
  tools.onStep('making_keys')
  const recoveryCode = newRecoveryCode(tools.random)
  const made = await createAccount({
    ...scope(who.username, tools),
    stretched,
    recoveryCode,
    ...chance(tools),
  })
  const { keys, browser } = made
  return { ...who, authKey: await authKey(stretched), stretched, recoveryCode, keys, browser }
}

/**
 * Signs up with prepared keys.
 *
 * When the answer to an earlier attempt was lost the name is taken, by ourselves: `retry` logs in and looks whether
 * the keys there are these.
 */
export async function signUp(
  prepared: PreparedSignUp,
  options: { readonly retry: boolean; readonly invite: string | null },
  tools: AccountTools,
): Promise<void> {
  tools.onStep('sending')
  const database = await openDatabase(foldedName(prepared.username))
  try {
    await sendSignUp(prepared, options, tools)
    await saveAccount(database, prepared)
  } finally {
    database.close()
  }
}

async function sendSignUp(
  prepared: PreparedSignUp,
  options: { readonly retry: boolean; readonly invite: string | null },
  tools: AccountTools,
): Promise<void> {
  try {
    const answer = await tools.api.request(
      'POST',
      '/api/sign-up/',
      encodeSignUp({ ...prepared, invite: options.invite }),
    )
    tools.api.useCsrfToken(decodeSignedUp(answer).csrfToken)
  } catch (error) {
    if (!(options.retry && error instanceof ApiRefused)) throw error
    if (!(await signedUpBefore(prepared, tools))) throw error
  }
}

async function signedUpBefore(prepared: PreparedSignUp, tools: AccountTools): Promise<boolean> {
  const { username, keys } = prepared
  try {
    const body = encodeLogIn({ username, authKey: prepared.authKey, newAuthKey: null })
    const answer = decodeLoggedIn(await tools.api.request('POST', '/api/log-in/', body))
    tools.api.useCsrfToken(answer.csrfToken)
    const [stored, mine] = [answer.keys?.chain[0], keys.chain[0]]
    return stored !== undefined && mine !== undefined && equal(stored, mine)
  } catch (error) {
    if (error instanceof ApiRefused) return false
    throw error
  }
}

/**
 * Logs in, and gives this browser the keys.
 *
 * Throws `DoorClosed`, `OtherIdentity` and `StorageRefused` beside what the server refuses. `forget` drops the keys
 * that this browser has kept for the name; only after the person was told what that means.
 */
export async function logIn(
  who: Credentials,
  options: { readonly next: string; readonly forget: boolean },
  tools: AccountTools,
): Promise<SignedIn> {
  await assureStorage(await createLocalKey())
  const { stretched, legacy } = await stretchFor(who, tools)
  tools.onStep('sending')
  const known = options.forget ? null : await knownOf(who.username)
  const key = await authKey(stretched)
  const next = new URLSearchParams({ next: options.next }).toString()
  const body = encodeLogIn({
    username: who.username,
    authKey: legacy === null ? key : await authKey(legacy),
    newAuthKey: legacy === null ? null : key,
  })
  const answer = decodeLoggedIn(await tools.api.request('POST', `/api/log-in/?${next}`, body))
  tools.api.useCsrfToken(answer.csrfToken)
  const database = await openDatabase(foldedName(answer.username))
  try {
    const recoveryCode =
      answer.keys === null
        ? await makeFirstKeys(answer.username, stretched, { database, known, ...options }, tools)
        : await openKeys(answer.username, stretched, answer.keys, { database, known, ...options }, tools)
    return { username: answer.username, recoveryCode, nextAllowed: answer.nextAllowed }
  } finally {
    database.close()
  }
}

interface Opening {
  readonly database: Database
  /** Null where nothing is, or where it is to be forgotten. */
  readonly known: Known | null
  readonly forget: boolean
}

/** For somebody whom the server's own commands made: the account exists, its keys do not yet. */
async function makeFirstKeys(
  username: string,
  stretched: Bytes,
  options: Opening,
  tools: AccountTools,
): Promise<Bytes | null> {
  if (options.known !== null) throw new OtherIdentity()
  tools.onStep('making_keys')
  const recoveryCode = newRecoveryCode(tools.random)
  const made = await createAccount({ ...scope(username, tools), stretched, recoveryCode, ...chance(tools) })
  try {
    await tools.api.request('POST', '/api/keys/', { keys: encodeKeys(made.keys) })
  } catch (error) {
    if (!isConflict(error)) throw error
    // Another tab was faster: its keys are the person's.
    const stored = decodeKeys(await tools.api.request('GET', '/api/keys/'))
    return openKeys(username, stretched, stored, options, tools)
  }
  await saveAccount(options.database, { username, browser: made.browser })
  return recoveryCode
}

async function openKeys(
  username: string,
  stretched: Bytes,
  first: StoredKeys,
  options: Opening,
  tools: AccountTools,
): Promise<null> {
  const { database } = options
  tools.onStep('opening')
  const doorKey = await passwordDoor(stretched)
  let stored = first
  for (let attempt = 1; ; attempt++) {
    const unlocked = await unlock(username, stored, doorKey, tools)
    assureKnown(options.known, unlocked)
    if (options.forget) await forgetEverything(database)
    try {
      const browser = await browserKeysFor(unlocked, database, tools)
      await saveAccount(database, { username, browser })
      return null
    } catch (error) {
      if (attempt >= MAX_ATTEMPTS || !isConflict(error)) throw error
      stored = decodeKeys(await tools.api.request('GET', '/api/keys/'))
    }
  }
}

/** What this browser has kept of the person: whatever the server shows must fit it. Read before the server is asked. */
interface Known {
  readonly identityPublic: Bytes
  readonly seen: SeenRecord
}

async function knownOf(username: string): Promise<Known | null> {
  const database = await openDatabase(foldedName(username))
  try {
    const device = await loadDevice(database)
    return device === undefined
      ? null
      : { identityPublic: device.identityPublic, seen: await loadSeen(database) }
  } finally {
    database.close()
  }
}

/**
 * A door proves nothing: whoever runs the server can seal other keys to it, behind a `reset` of the chain.
 *
 * So another identity than the one kept here is for the person to accept, also where they started fresh elsewhere.
 * Throws `OtherIdentity`, and the checks' own errors for an older vault or chain.
 */
function assureKnown(known: Known | null, unlocked: Unlocked): void {
  if (known === null) return
  if (!equal(unlocked.chain.identityPublic, known.identityPublic)) throw new OtherIdentity()
  checkVaultVersion(known.seen.vaultVersion, unlocked.vault.version)
  if (known.seen.chain !== null) requirePinned(unlocked.chain, known.seen.chain)
}

/** The keys of this browser's device if it still stands on the key chain, else of a new one that the server has stored. */
async function browserKeysFor(
  unlocked: Unlocked,
  database: Database,
  tools: AccountTools,
): Promise<BrowserKeys> {
  const known = await loadDevice(database)
  if (known !== undefined && hasActiveDevice(unlocked.chain, known.device.id)) {
    const rotated = await rotateWhenOld(unlocked, chance(tools))
    if (rotated !== null) await tools.api.request('POST', '/api/key-chain/', encodeChainEntries(rotated))
    await tools.api.request('POST', '/api/browsers/', encodeDevice(known.device.id))
    return keysForDevice(rotated?.unlocked ?? unlocked, known.device)
  }
  const { browser, ...added } = await addDevice(unlocked, chance(tools))
  await tools.api.request('POST', '/api/key-chain/', encodeChainEntries(added))
  return browser
}

/**
 * New keys for who has lost password and recovery code, and was given a new password by whoever runs the server.
 *
 * Everything before stays closed for good. Returns the new recovery code, to be shown.
 */
export async function startFresh(who: Credentials, tools: AccountTools): Promise<Fresh> {
  await assureStorage(await createLocalKey())
  const { stretched } = await stretchFor(who, tools)
  const key = await authKey(stretched)
  const recoveryCode = newRecoveryCode(tools.random)
  for (let attempt = 1; ; attempt++) {
    tools.onStep('making_keys')
    const { username, chain, vault } = decodeKeys(await tools.api.request('GET', '/api/keys/'))
    const reset = await resetAccount({
      ...scope(username, tools),
      entries: chain,
      vaultVersion: vault.version,
      stretched,
      recoveryCode,
      ...chance(tools),
    })
    tools.onStep('sending')
    try {
      const body = encodeReset({ authKey: key, ...reset })
      const answer = decodeReset(await tools.api.request('POST', '/api/keys/reset/', body))
      tools.api.useCsrfToken(answer.csrfToken)
      await keep({ username, browser: reset.browser })
      return { username, recoveryCode }
    } catch (error) {
      if (attempt >= MAX_ATTEMPTS || !isConflict(error)) throw error
    }
  }
}

/**
 * Sets a new password with the recovery code, and brings everything back.
 *
 * The code is used up; the new one comes back to be shown. Throws `RecoveryUncertain` when the last answer was lost,
 * and `OtherIdentity` unless what this browser has kept is to be forgotten.
 */
export async function recover(
  who: Credentials & { readonly code: Bytes },
  options: { readonly forget: boolean },
  tools: AccountTools,
): Promise<Recovered> {
  const { username } = who
  await assureStorage(await createLocalKey())
  const proof = await recoveryProof(who.code)
  const doorKey = await recoveryDoor(who.code)
  const newCode = newRecoveryCode(tools.random)
  for (let attempt = 1; ; attempt++) {
    tools.onStep('asking')
    const known = options.forget ? null : await knownOf(username)
    const body = encodeRecoveryBegin({ username, proof })
    const begun = decodeRecoveryBegun(await tools.api.request('POST', '/api/recovery/begin/', body))
    const newStretched = await stretchOne(who, begun.clientSalt, tools)
    tools.onStep('opening')
    const { chain, door, vault } = begun
    const unlocked = await unlockAccount({ ...scope(username, tools), chain, door, vault, doorKey })
    assureKnown(known, unlocked)
    const done = await finishRecovery(unlocked, { newStretched, newCode, ...chance(tools) })
    tools.onStep('sending')
    try {
      const newAuthKey = await authKey(newStretched)
      const answer = await sendRecovery(encodeRecoveryFinish({ username, proof, newAuthKey, ...done }), tools)
      await keep({ username: answer.username, browser: done.browser })
      return { username: answer.username, newCode }
    } catch (error) {
      if (attempt >= MAX_ATTEMPTS || !isConflict(error)) throw error
    }
  }
}

async function sendRecovery(body: unknown, tools: AccountTools): Promise<{ readonly username: string }> {
  try {
    const answer = decodeRecoveryFinished(await tools.api.request('POST', '/api/recovery/finish/', body))
    tools.api.useCsrfToken(answer.csrfToken)
    return answer
  } catch (error) {
    if (!(error instanceof ApiUnreachable)) throw error
    throw new RecoveryUncertain('The answer of the server was lost.', { cause: error })
  }
}

/** Seals the keys for a new password. Throws `DoorClosed` when `password` is not the current one. */
export async function changePassword(
  who: Credentials & { readonly newPassword: string },
  tools: AccountTools,
): Promise<void> {
  const { stretched, clientSalt } = await stretchFor(who, tools)
  const newStretched = await stretchOne({ ...who, password: who.newPassword }, clientSalt, tools)
  const keys = { authKey: await authKey(stretched), newAuthKey: await authKey(newStretched) }
  await withUnlocked(who.username, stretched, tools, async (unlocked) => {
    const { door, vault } = await sealForNewPassword(unlocked, { newStretched, random: tools.random })
    tools.onStep('sending')
    const body = encodePasswordChange({ ...keys, door, vault })
    const answer = decodePasswordChanged(await tools.api.request('POST', '/api/password/', body))
    tools.api.useCsrfToken(answer.csrfToken)
  })
}

/** What proves the password, and the next one where it changes. */
export async function authKeys(
  who: Credentials & { readonly newPassword: string | null },
  tools: AccountTools,
): Promise<{
  readonly stretched: Bytes
  readonly newStretched: Bytes | null
  readonly authKey: string
  readonly newAuthKey: string | null
}> {
  const { stretched, clientSalt } = await stretchFor(who, tools)
  const { newPassword } = who
  const newStretched =
    newPassword === null ? null : await stretchOne({ ...who, password: newPassword }, clientSalt, tools)
  return {
    stretched,
    newStretched,
    authKey: await authKey(stretched),
    newAuthKey: newStretched === null ? null : await authKey(newStretched),
  }
}

/** Makes a new recovery code; the old one stops working. Throws `DoorClosed` when the password is another. */
export async function replaceRecoveryCode(who: Credentials, tools: AccountTools): Promise<Bytes> {
  const { stretched } = await stretchFor(who, tools)
  const newCode = newRecoveryCode(tools.random)
  const key = await authKey(stretched)
  await withUnlocked(who.username, stretched, tools, async (unlocked) => {
    const { door, vault } = await sealForNewCode(unlocked, { newCode, random: tools.random })
    tools.onStep('sending')
    const body = encodeRecoveryCode({ authKey: key, door, recoveryHash: await recoveryHash(newCode), vault })
    await tools.api.request('POST', '/api/recovery-code/', body)
  })
  return newCode
}

/**
 * The drill: whether `code` is this account's, seen in the browser, and the server told so.
 *
 * Needs only the keys this browser has kept. Throws `DoorClosed` when it is another code.
 */
export async function checkRecoveryCode(keys: BrowserKeys, code: Bytes, api: Api): Promise<void> {
  const { vaultKey, name } = keys
  const vault = await openVault({
    vaultKey,
    name,
    vault: decodeVault(await api.request('GET', '/api/vault/')),
  })
  await fitsAccount(vault.content, code, name)
  await confirmRecoveryCode(api)
}

/** Tells the server that the person has the code, which ends its reminders. */
export async function confirmRecoveryCode(api: Api): Promise<void> {
  await api.request('POST', '/api/recovery-code/confirm/', {})
}

/** Opens the account with the password and acts; once more from the start when another browser was faster. */
export async function withUnlocked(
  username: string,
  stretched: Bytes,
  tools: AccountTools,
  act: (unlocked: Unlocked) => Promise<void>,
): Promise<void> {
  const doorKey = await passwordDoor(stretched)
  for (let attempt = 1; ; attempt++) {
    tools.onStep('opening')
    const known = await knownOf(username)
    const stored = decodeKeys(await tools.api.request('GET', '/api/keys/'))
    const unlocked = await unlock(username, stored, doorKey, tools)
    assureKnown(known, unlocked)
    try {
      await act(unlocked)
      return
    } catch (error) {
      if (attempt >= MAX_ATTEMPTS || !isConflict(error)) throw error
    }
  }
}

/** Throws `DoorClosed` for another password, also where it was changed on the server's command line, which has no keys. */
async function unlock(
  username: string,
  stored: StoredKeys,
  doorKey: DoorKey,
  tools: AccountTools,
): Promise<Unlocked> {
  const { chain, vault } = stored
  const door = stored.doors.find(({ kind }) => kind === doorKey.kind)
  if (door === undefined) throw new DoorClosed()
  return unlockAccount({ ...scope(username, tools), chain, door, vault, doorKey })
}

async function keep(account: { username: string; browser: BrowserKeys }): Promise<void> {
  const database = await openDatabase(foldedName(account.username))
  try {
    await saveAccount(database, account)
  } finally {
    database.close()
  }
}

interface Stretched {
  readonly stretched: Bytes
  /** Of an account of the first version: what proves the old password. */
  readonly legacy: Bytes | null
  readonly clientSalt: Bytes
}

async function stretchFor(who: Credentials, tools: AccountTools): Promise<Stretched> {
  const { username, password } = who
  tools.onStep('asking')
  const answer = await tools.api.request('POST', '/api/log-in-parameters/', { username })
  const { clientSalt, legacySalt } = decodeLogInParameters(answer)
  const stretched = await stretchOne(who, clientSalt, tools)
  if (legacySalt === null) return { stretched, legacy: null, clientSalt }
  const salt = await passwordSalt({ ...scope(username, tools), clientSalt })
  const legacy = await tools.stretch({ password: await legacyPassword(password, legacySalt), salt })
  return { stretched, legacy, clientSalt }
}

async function stretchOne(who: Credentials, clientSalt: Bytes, tools: AccountTools): Promise<Bytes> {
  tools.onStep('stretching')
  const salt = await passwordSalt({ ...scope(who.username, tools), clientSalt })
  return tools.stretch({ password: normalisePassword(who.password), salt })
}

function scope(username: string, tools: AccountTools): { origin: string; name: string } {
  return { origin: tools.origin, name: foldedName(username) }
}

function chance(tools: AccountTools): { now: number; random: Random } {
  return { now: tools.now(), random: tools.random }
}

export function isConflict(error: unknown): boolean {
  return error instanceof ApiRefused && error.status === 409
}
