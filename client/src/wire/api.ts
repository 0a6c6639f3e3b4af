/** The JSON of `/api/` (docs/protocol.md, section 8): bodies to send, answers to check. */
import { type Bytes } from './bytes'
import {
  arrayOf,
  bytes,
  bytesOfLength,
  count,
  type Decoder,
  flag,
  looseObject,
  orNull,
  positive,
  text,
  toWire,
} from './json'
import { ACCOUNT_KEY_BYTES, DEVICE_ID_BYTES, doorKind, type DoorKind } from './objects'

export type { DoorKind } from './objects'

/** One way to the vault: a sealed copy of its key and of the identity, for whoever has the password or the code. */
export interface Door {
  readonly kind: DoorKind
  readonly publicKey: Bytes
  readonly sealedVaultKey: Bytes
  readonly sealedIdentity: Bytes
}

export interface SealedVault {
  readonly version: number
  readonly box: Bytes
}

export interface KeysUpload {
  readonly chain: readonly Bytes[]
  readonly doors: readonly Door[]
  readonly recoveryHash: Bytes
  readonly vault: SealedVault
}

export interface StoredKeys {
  readonly username: string
  readonly chain: readonly Bytes[]
  readonly doors: readonly Door[]
  readonly vault: SealedVault
  readonly recoveryConfirmed: boolean
}

export interface LogInParameters {
  readonly clientSalt: Bytes
  readonly legacySalt: string | null
}

export interface LoggedIn {
  readonly csrfToken: string
  readonly username: string
  /** Null while the account has none. */
  readonly keys: StoredKeys | null
  /** Whether the address asked for may be gone to next. */
  readonly nextAllowed: boolean
}

/** A log-in somewhere, as the server noted it. */
export interface BrowserSession {
  /** Names the session to `/api/browsers/end/`, and to nothing else. */
  readonly session: string
  /** Whose key signs there, or null where no key of the chain belongs to it. */
  readonly device: Bytes | null
  readonly name: string
  readonly address: string
  /** Milliseconds since 1970. */
  readonly signedInAt: number
  readonly seenAt: number
  readonly isThis: boolean
}

export interface RecoveryBegun {
  readonly clientSalt: Bytes
  readonly chain: readonly Bytes[]
  readonly door: Door
  readonly vault: SealedVault
}

// Bodies

/** A door's key goes by `public` on the wire. */
export function encodeDoor(door: Door): unknown {
  return toWire({
    kind: door.kind,
    public: door.publicKey,
    sealedVaultKey: door.sealedVaultKey,
    sealedIdentity: door.sealedIdentity,
  })
}

export function encodeVault(vault: SealedVault): unknown {
  return toWire({ version: vault.version, box: vault.box })
}

export function encodeKeys(keys: KeysUpload): unknown {
  return {
    chain: toWire(keys.chain),
    doors: keys.doors.map(encodeDoor),
    recovery_hash: toWire(keys.recoveryHash),
    vault: encodeVault(keys.vault),
  }
}

/** `vault` goes with an `ak_rotate` among the entries, and only then. */
export function encodeChainEntries(body: {
  readonly entries: readonly Bytes[]
  readonly vault: SealedVault | null
}): unknown {
  return { entries: toWire(body.entries), vault: body.vault === null ? null : encodeVault(body.vault) }
}

export function encodeRenewal(body: {
  readonly authKey: string
  readonly newAuthKey: string | null
  readonly entries: readonly Bytes[]
  readonly doors: readonly Door[]
  readonly vault: SealedVault
}): unknown {
  return {
    auth_key: body.authKey,
    new_auth_key: body.newAuthKey,
    entries: toWire(body.entries),
    doors: body.doors.map(encodeDoor),
    vault: encodeVault(body.vault),
  }
}

export function encodeReset(body: {
  readonly authKey: string
  readonly entries: readonly Bytes[]
  readonly doors: readonly Door[]
  readonly recoveryHash: Bytes
  readonly vault: SealedVault
}): unknown {
  return {
    auth_key: body.authKey,
    entries: toWire(body.entries),
    doors: body.doors.map(encodeDoor),
    recovery_hash: toWire(body.recoveryHash),
    vault: encodeVault(body.vault),
  }
}

export function encodeDevice(device: Bytes): unknown {
  return toWire({ device })
}

export function encodeSessionEnd(session: string): unknown {
  return { session }
}

export function encodeSignUp(body: {
  readonly username: string
  readonly authKey: string
  readonly keys: KeysUpload
  /** Null where the server asks for none. */
  readonly invite: string | null
}): unknown {
  return {
    username: body.username,
    auth_key: body.authKey,
    keys: encodeKeys(body.keys),
    invite: body.invite,
  }
}

export function encodeLogIn(body: {
  readonly username: string
  readonly authKey: string
  readonly newAuthKey: string | null
}): unknown {
  return { username: body.username, auth_key: body.authKey, new_auth_key: body.newAuthKey }
}

export function encodePasswordChange(body: {
  readonly authKey: string
  readonly newAuthKey: string
  readonly door: Door
  readonly vault: SealedVault
}): unknown {
  return {
    auth_key: body.authKey,
    new_auth_key: body.newAuthKey,
    door: encodeDoor(body.door),
    vault: encodeVault(body.vault),
  }
}

export function encodeRecoveryBegin(body: { readonly username: string; readonly proof: Bytes }): unknown {
  return { username: body.username, recovery_proof: toWire(body.proof) }
}

export function encodeRecoveryFinish(body: {
  readonly username: string
  readonly proof: Bytes
  readonly newAuthKey: string
  readonly doors: readonly Door[]
  readonly recoveryHash: Bytes
  readonly vault: SealedVault
  readonly entry: Bytes
}): unknown {
  return {
    username: body.username,
    recovery_proof: toWire(body.proof),
    new_auth_key: body.newAuthKey,
    doors: body.doors.map(encodeDoor),
    recovery_hash: toWire(body.recoveryHash),
    vault: encodeVault(body.vault),
    entry: toWire(body.entry),
  }
}

export function encodeRecoveryCode(body: {
  readonly authKey: string
  readonly door: Door
  readonly recoveryHash: Bytes
  readonly vault: SealedVault
}): unknown {
  return {
    auth_key: body.authKey,
    door: encodeDoor(body.door),
    recovery_hash: toWire(body.recoveryHash),
    vault: encodeVault(body.vault),
  }
}

// Answers

const door: Decoder<Door> = (value) => {
  const { public: publicKey, ...sealed } = looseObject({
    kind: doorKind,
    public: bytesOfLength(ACCOUNT_KEY_BYTES),
    sealedVaultKey: bytes,
    sealedIdentity: bytes,
  })(value)
  return { publicKey, ...sealed }
}

const vault = looseObject<SealedVault>({ version: positive, box: bytes })
const chain = arrayOf(bytes)

const keys = looseObject<StoredKeys>({
  username: text,
  chain,
  doors: arrayOf(door),
  vault,
  recoveryConfirmed: flag,
})

const csrf = looseObject<{ readonly csrfToken: string }>({ csrfToken: text })

export const decodeLogInParameters: Decoder<LogInParameters> = looseObject<LogInParameters>({
  clientSalt: bytesOfLength(32),
  legacySalt: orNull(text),
})
export const decodeSignedUp = csrf
export const decodePasswordChanged = csrf
export const decodeKeys: Decoder<StoredKeys> = keys
export const decodeVault: Decoder<SealedVault> = vault
export const decodeLoggedIn: Decoder<LoggedIn> = looseObject<LoggedIn>({
  csrfToken: text,
  username: text,
  keys: orNull(keys),
  nextAllowed: flag,
})
export const decodeRenewed = csrf
export const decodeReset = csrf
export const decodeBrowsers: Decoder<{ readonly browsers: readonly BrowserSession[] }> = looseObject({
  browsers: arrayOf(
    looseObject<BrowserSession>({
      session: text,
      device: orNull(bytesOfLength(DEVICE_ID_BYTES)),
      name: text,
      address: text,
      signedInAt: count,
      seenAt: count,
      isThis: flag,
    }),
  ),
})
export const decodeRecoveryBegun: Decoder<RecoveryBegun> = looseObject<RecoveryBegun>({
  clientSalt: bytesOfLength(32),
  chain,
  door,
  vault,
})
export const decodeRecoveryFinished = looseObject<{ readonly csrfToken: string; readonly username: string }>({
  csrfToken: text,
  username: text,
})
