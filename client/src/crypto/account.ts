/** A person's keys as a whole: made once, opened by a door, given to a browser (docs/protocol.md, sections 2 to 4). */
import type { Door, KeysUpload, SealedVault } from '../wire/api'
import { type Bytes, equal, type Random } from '../wire/bytes'
import type { DoorPublic, VaultContent } from '../wire/objects'
import { importAesKey } from './box'
import { createDevice, type Device } from './device'
import { type BehindDoor, type DoorKey, openDoor, publicDoor, sealDoor } from './doors'
import { ed25519 } from './ed25519'
import { DoorClosed, NoAccountKey, VaultAltered } from './errors'
import { publicOfSeed } from './hpke'
import {
  deviceOf,
  extendKeyChain,
  positionOfChain,
  signChainEntry,
  type VerifiedChain,
  newestAccountKey,
  verifyKeyChain,
  verifyOwnKeyChain,
} from './key_chain'
import { deriveLocalKey } from './local_box'
import { passwordDoor } from './password'
import { recoveryDoor, recoveryHash } from './recovery_code'
import { EMPTY_VAULT, type OpenVault, openVault, sealVault, withChainPosition } from './vault'

const SEED_BYTES = 32
const FIRST_GENERATION = 1
const ACCOUNT_KEY_MS = 90 * 24 * 3600 * 1000
const FIRST_VERSION = 1

/** Whose keys: the server's origin and the folded name. */
export interface AccountName {
  readonly origin: string
  readonly name: string
}

/** What a browser keeps. Plain data and keys that cannot be read out, so that IndexedDB can hold it as it is. */
export interface BrowserKeys extends AccountName {
  readonly identityPublic: Bytes
  readonly device: Device
  readonly vaultKey: CryptoKey
  /** Of the vault key; when the key chain names a newer one, this browser needs the password again. */
  readonly vaultGeneration: number
  /** For drafts and messages that wait, in this browser only. */
  readonly localKey: CryptoKey
}

/** Everything, right after a password or a recovery code was typed. In memory only, and dropped soon. */
export interface Unlocked extends AccountName {
  readonly chain: VerifiedChain
  readonly identitySeed: Bytes
  readonly vaultKey: Bytes
  readonly vault: OpenVault
}

export interface CreatedAccount {
  readonly keys: KeysUpload
  readonly browser: BrowserKeys
  readonly vault: OpenVault
  readonly chain: VerifiedChain
}

/** All keys of a new account and its first device. `now` is in milliseconds since 1970. */
export async function createAccount(
  account: AccountName & {
    readonly stretched: Bytes
    readonly recoveryCode: Bytes
    readonly now: number
    readonly random: Random
  },
): Promise<CreatedAccount> {
  const { random, now, origin, name } = account
  const secrets = {
    identitySeed: random(SEED_BYTES),
    accountSeed: random(SEED_BYTES),
    vaultKey: random(SEED_BYTES),
  }
  const doorKeys = [await passwordDoor(account.stretched), await recoveryDoor(account.recoveryCode)]
  const genesis = await makeGenesis(account, secrets)
  const device = await createDevice(random)
  const begun = await verifyKeyChain([genesis], { origin, name })
  const entry = await deviceEntry(begun, secrets.identitySeed, device, now)
  const chain = await extendKeyChain(begun, [entry])
  const content: VaultContent = {
    identityPublic: chain.identityPublic,
    accountKeys: [{ generation: FIRST_GENERATION, seed: secrets.accountSeed }],
    doors: await publicDoors(doorKeys, { name, identityPublic: chain.identityPublic }),
    chain: positionOfChain(chain),
    ...EMPTY_VAULT,
  }
  const vault = { version: FIRST_VERSION, content }
  const unlocked = { origin, name, chain, vault, ...secrets }
  const keys = {
    chain: [genesis, entry],
    doors: await Promise.all(doorKeys.map((door) => sealDoor(door, name, secrets))),
    recoveryHash: await recoveryHash(account.recoveryCode),
    vault: await sealed(unlocked, random),
  }
  return { keys, browser: await browserKeys(unlocked, device), vault, chain }
}

async function makeGenesis(
  account: AccountName & { readonly now: number },
  secrets: { readonly identitySeed: Bytes; readonly accountSeed: Bytes },
): Promise<Bytes> {
  const payload = {
    kind: 'genesis',
    origin: account.origin,
    name: account.name,
    identityPublic: await (await ed25519()).publicOf(secrets.identitySeed),
    generation: FIRST_GENERATION,
    accountPublic: await publicOfSeed(secrets.accountSeed),
  } as const
  const key = { kind: 'seed', seed: secrets.identitySeed } as const
  return signChainEntry({ previous: null, payload, key, at: account.now })
}

function deviceEntry(chain: VerifiedChain, identitySeed: Bytes, device: Device, now: number): Promise<Bytes> {
  const payload = { kind: 'device_add', devicePublic: device.publicKey } as const
  const key = { kind: 'seed', seed: identitySeed } as const
  return signChainEntry({ previous: positionOfChain(chain), payload, key, at: now })
}

export function publicDoors(
  keys: readonly DoorKey[],
  owner: Parameters<typeof publicDoor>[1],
): Promise<DoorPublic[]> {
  return Promise.all(keys.map((key) => publicDoor(key, owner)))
}

/** What the browser with this device keeps. */
export async function browserKeys(unlocked: Unlocked, device: Device): Promise<BrowserKeys> {
  return {
    origin: unlocked.origin,
    name: unlocked.name,
    identityPublic: unlocked.chain.identityPublic,
    device,
    vaultKey: await importAesKey(unlocked.vaultKey),
    vaultGeneration: unlocked.chain.vaultGeneration,
    localKey: await deriveLocalKey(unlocked.identitySeed, device.id),
  }
}

/** The vault as it stands in `unlocked`, for the server. */
export async function sealed(unlocked: Unlocked, random: Random): Promise<SealedVault> {
  const { name, vault } = unlocked
  return sealVault({ vaultKey: await importAesKey(unlocked.vaultKey), name, random, ...vault })
}

/**
 * Opens the door, then checks that vault and key chain belong to the identity behind it.
 *
 * Throws `DoorClosed` for a wrong password or code, `VaultAltered`, and what `verifyKeyChain` throws.
 */
export async function unlockAccount(
  stored: AccountName & {
    readonly chain: readonly Bytes[]
    readonly door: Door
    readonly vault: SealedVault
    readonly doorKey: DoorKey
  },
): Promise<Unlocked> {
  const { origin, name } = stored
  const { vaultKey, identitySeed } = await openDoor(stored.door, name, stored.doorKey)
  const vault = await openVault({ vaultKey: await importAesKey(vaultKey), name, vault: stored.vault })
  const { identityPublic } = vault.content
  const ownPublic = await (await ed25519()).publicOf(identitySeed)
  const door = await publicDoor(stored.doorKey, { name, identityPublic })
  if (!equal(ownPublic, identityPublic) || !hasDoor(vault.content, door)) throw new VaultAltered()
  const pinned = { identityPublic, ...vault.content.chain }
  const chain = await verifyOwnKeyChain(stored.chain, { origin, name, pinned })
  await requireAccountKeys(vault.content, chain)
  return { origin, name, chain, identitySeed, vaultKey, vault }
}

function hasDoor(content: VaultContent, door: DoorPublic): boolean {
  return content.doors.some(
    ({ kind, publicKey, tag }) =>
      kind === door.kind && equal(publicKey, door.publicKey) && equal(tag, door.tag),
  )
}

/** Throws `NoAccountKey` unless the vault holds the private half of every account key of the present identity. */
async function requireAccountKeys(content: VaultContent, chain: VerifiedChain): Promise<void> {
  const since = chain.identities.at(-1)?.seq ?? 1
  for (const { generation, publicKey, seq } of chain.accountKeys.values()) {
    if (seq < since) continue
    const key = content.accountKeys.find((one) => one.generation === generation)
    if (key === undefined || !equal(await publicOfSeed(key.seed), publicKey)) throw new NoAccountKey()
  }
}

interface OneMoreDevice {
  readonly entry: Bytes
  readonly browser: BrowserKeys
  readonly unlocked: Unlocked
}

export interface AddedDevice {
  /** For the server to append, together. */
  readonly entries: readonly Bytes[]
  /** The next one, if the account key is new. */
  readonly vault: SealedVault | null
  readonly browser: BrowserKeys
  readonly unlocked: Unlocked
}

/** A key for this browser, and what puts it on the person's chain; an account key that grew old is renewed with it. */
export async function addDevice(
  unlocked: Unlocked,
  options: { readonly now: number; readonly random: Random },
): Promise<AddedDevice> {
  const { entry, ...added } = await oneMoreDevice(unlocked, options)
  const rotated = await rotateWhenOld(added.unlocked, options)
  if (rotated === null) return { ...added, entries: [entry], vault: null }
  return { ...rotated, entries: [entry, ...rotated.entries], browser: added.browser }
}

/** The next account key where the newest has grown old, with the vault that holds it; null where it has not. */
export async function rotateWhenOld(
  unlocked: Unlocked,
  options: { readonly now: number; readonly random: Random },
): Promise<(Omit<AddedDevice, 'browser' | 'vault'> & { readonly vault: SealedVault }) | null> {
  if (options.now - newestAccountKey(unlocked.chain).at <= ACCOUNT_KEY_MS) return null
  const { vaultGeneration } = unlocked.chain
  const rotated = await rotateAccountKey(unlocked, { ...options, vaultGeneration })
  const vault = await sealed(rotated.unlocked, options.random)
  return { entries: [rotated.entry], vault, unlocked: rotated.unlocked }
}

async function oneMoreDevice(
  unlocked: Unlocked,
  options: { readonly now: number; readonly random: Random },
): Promise<OneMoreDevice> {
  const device = await createDevice(options.random)
  const entry = await deviceEntry(unlocked.chain, unlocked.identitySeed, device, options.now)
  const chain = await extendKeyChain(unlocked.chain, [entry])
  return { entry, browser: await browserKeys(unlocked, device), unlocked: { ...unlocked, chain } }
}

/** The next account key, on the chain and in the next vault. */
export async function rotateAccountKey(
  unlocked: Unlocked,
  options: { readonly now: number; readonly random: Random; readonly vaultGeneration: number },
): Promise<{ readonly entry: Bytes; readonly unlocked: Unlocked }> {
  const seed = options.random(SEED_BYTES)
  const generation = newestAccountKey(unlocked.chain).generation + 1
  const { vaultGeneration } = options
  const payload = {
    kind: 'ak_rotate',
    generation,
    accountPublic: await publicOfSeed(seed),
    vaultGeneration,
  } as const
  const key = { kind: 'seed', seed: unlocked.identitySeed } as const
  const previous = positionOfChain(unlocked.chain)
  const entry = await signChainEntry({ previous, payload, key, at: options.now })
  const chain = await extendKeyChain(unlocked.chain, [entry])
  const { version, content } = unlocked.vault
  const accountKeys = [...content.accountKeys, { generation, seed }]
  const next = { ...withChainPosition(content, positionOfChain(chain)), accountKeys }
  return { entry, unlocked: { ...unlocked, chain, vault: { version: version + 1, content: next } } }
}

/** The keys of a browser whose device stands on the chain already. Throws `UnknownDevice`. */
export async function keysForDevice(unlocked: Unlocked, device: Device): Promise<BrowserKeys> {
  deviceOf(unlocked.chain, device.id)
  return browserKeys(unlocked, device)
}

/** The account with the next vault, in which these doors stand instead of those of their kind. */
async function withDoors(unlocked: Unlocked, keys: readonly DoorKey[]): Promise<Unlocked> {
  const { version, content } = unlocked.vault
  const doors = await publicDoors(keys, { name: unlocked.name, identityPublic: content.identityPublic })
  const kept = content.doors.filter((one) => !doors.some((door) => door.kind === one.kind))
  const next = {
    ...withChainPosition(content, positionOfChain(unlocked.chain)),
    doors: [...kept, ...doors],
  }
  return { ...unlocked, vault: { version: version + 1, content: next } }
}

export interface ReplacedDoor {
  readonly door: Door
  readonly vault: SealedVault
  readonly unlocked: Unlocked
}

async function replaceDoor(unlocked: Unlocked, key: DoorKey, random: Random): Promise<ReplacedDoor> {
  const replaced = await withDoors(unlocked, [key])
  const door = await sealDoor(key, unlocked.name, behind(unlocked))
  return { door, vault: await sealed(replaced, random), unlocked: replaced }
}

function behind({ vaultKey, identitySeed }: Unlocked): BehindDoor {
  return { vaultKey, identitySeed }
}

export async function changePassword(
  unlocked: Unlocked,
  options: { readonly newStretched: Bytes; readonly random: Random },
): Promise<ReplacedDoor> {
  return replaceDoor(unlocked, await passwordDoor(options.newStretched), options.random)
}

export async function replaceRecoveryCode(
  unlocked: Unlocked,
  options: { readonly newCode: Bytes; readonly random: Random },
): Promise<ReplacedDoor & { readonly recoveryHash: Bytes }> {
  const replaced = await replaceDoor(unlocked, await recoveryDoor(options.newCode), options.random)
  return { ...replaced, recoveryHash: await recoveryHash(options.newCode) }
}

export interface FinishedRecovery extends OneMoreDevice {
  readonly doors: readonly Door[]
  readonly recoveryHash: Bytes
  readonly vault: SealedVault
}

/** A new password, a new recovery code and a key for this browser, all in one request. */
export async function finishRecovery(
  unlocked: Unlocked,
  options: {
    readonly newStretched: Bytes
    readonly newCode: Bytes
    readonly now: number
    readonly random: Random
  },
): Promise<FinishedRecovery> {
  const keys = [await passwordDoor(options.newStretched), await recoveryDoor(options.newCode)]
  const added = await oneMoreDevice(unlocked, options)
  const replaced = await withDoors(added.unlocked, keys)
  return {
    entry: added.entry,
    browser: added.browser,
    doors: await Promise.all(keys.map((key) => sealDoor(key, unlocked.name, behind(unlocked)))),
    recoveryHash: await recoveryHash(options.newCode),
    vault: await sealed(replaced, options.random),
    unlocked: replaced,
  }
}

/** The drill: throws `DoorClosed` when the code typed is not the one that opens this account. */
export async function checkRecoveryCode(content: VaultContent, code: Bytes, name: string): Promise<void> {
  const { identityPublic } = content
  if (!hasDoor(content, await publicDoor(await recoveryDoor(code), { name, identityPublic })))
    throw new DoorClosed()
}
