/** What a person does to their keys after something went wrong: renewing them all, or starting fresh (section 4). */
import type { Door, SealedVault } from '../wire/api'
import type { Bytes, Random } from '../wire/bytes'
import type { DoorPublic } from '../wire/objects'
import {
  type AccountName,
  type BrowserKeys,
  browserKeys,
  publicDoors,
  rotateAccountKey,
  sealed,
  type Unlocked,
} from './account'
import { createDevice, type Device } from './device'
import { publicDoor, sealDoor } from './doors'
import { ed25519 } from './ed25519'
import { publicOfSeed } from './hpke'
import {
  extendKeyChain,
  newestAccountKey,
  positionOfChain,
  signChainEntry,
  type VerifiedChain,
  verifyKeyChain,
} from './key_chain'
import { passwordDoor } from './password'
import { recoveryDoor, recoveryHash } from './recovery_code'
import { EMPTY_VAULT } from './vault'

const SEED_BYTES = 32

export interface Renewed {
  /** For the server to append, together. */
  readonly entries: readonly Bytes[]
  readonly doors: readonly Door[]
  readonly vault: SealedVault
  /** Of the browser that renews. */
  readonly browser: BrowserKeys
  readonly unlocked: Unlocked
}

/**
 * A new account key and a new vault key, and these devices signed out.
 *
 * The doors stay where they are, as their public halves are in the vault; a new password brings its own.
 */
export async function renewAccount(
  before: Unlocked,
  options: {
    readonly revoke: readonly Bytes[]
    readonly device: Device
    readonly newStretched: Bytes | null
    readonly now: number
    readonly random: Random
  },
): Promise<Renewed> {
  const { random, now } = options
  const key = { kind: 'seed', seed: before.identitySeed } as const
  const entries: Bytes[] = []
  let { chain } = before
  for (const device of options.revoke) {
    const payload = { kind: 'device_revoke', device } as const
    const entry = await signChainEntry({ previous: positionOfChain(chain), payload, key, at: now })
    chain = await extendKeyChain(chain, [entry])
    entries.push(entry)
  }
  const vaultGeneration = chain.vaultGeneration + 1
  const rotated = await rotateAccountKey({ ...before, chain }, { now, random, vaultGeneration })
  const doors = await doorsAfter(before, options.newStretched)
  const { version, content } = rotated.unlocked.vault
  const unlocked = {
    ...rotated.unlocked,
    vaultKey: random(SEED_BYTES),
    vault: { version, content: { ...content, doors } },
  }
  return {
    entries: [...entries, rotated.entry],
    doors: await Promise.all(doors.map((door) => sealDoor(door, unlocked.name, unlocked))),
    vault: await sealed(unlocked, random),
    browser: await browserKeys(unlocked, options.device),
    unlocked,
  }
}

async function doorsAfter(before: Unlocked, newStretched: Bytes | null): Promise<readonly DoorPublic[]> {
  const { doors, identityPublic } = before.vault.content
  if (newStretched === null) return doors
  const renewed = await publicDoor(await passwordDoor(newStretched), { name: before.name, identityPublic })
  return [...doors.filter(({ kind }) => kind !== 'password'), renewed]
}

export interface ResetAccount {
  readonly entries: readonly Bytes[]
  readonly doors: readonly Door[]
  readonly recoveryHash: Bytes
  readonly vault: SealedVault
  readonly browser: BrowserKeys
  readonly chain: VerifiedChain
}

/**
 * A new identity at the end of a chain whose keys are lost, with a first device, an empty vault and new doors.
 *
 * `entries` is the chain as the server has it; nothing here can tell whether it is all of it. Throws what
 * `verifyKeyChain` throws.
 */
export async function resetAccount(
  account: AccountName & {
    readonly entries: readonly Bytes[]
    readonly vaultVersion: number
    readonly stretched: Bytes
    readonly recoveryCode: Bytes
    readonly now: number
    readonly random: Random
  },
): Promise<ResetAccount> {
  const { origin, name, random, now } = account
  const secrets = {
    identitySeed: random(SEED_BYTES),
    accountSeed: random(SEED_BYTES),
    vaultKey: random(SEED_BYTES),
  }
  const key = { kind: 'seed', seed: secrets.identitySeed } as const
  const lost = await verifyKeyChain(account.entries, { origin, name })
  const generation = newestAccountKey(lost).generation + 1
  const identity = {
    kind: 'reset',
    origin,
    name,
    identityPublic: await (await ed25519()).publicOf(secrets.identitySeed),
    generation,
    accountPublic: await publicOfSeed(secrets.accountSeed),
  } as const
  const reset = await signChainEntry({ previous: positionOfChain(lost), payload: identity, key, at: now })
  const begun = await extendKeyChain(lost, [reset])
  const device = await createDevice(random)
  const payload = { kind: 'device_add', devicePublic: device.publicKey } as const
  const added = await signChainEntry({ previous: positionOfChain(begun), payload, key, at: now })
  const chain = await extendKeyChain(begun, [added])
  const doorKeys = [await passwordDoor(account.stretched), await recoveryDoor(account.recoveryCode)]
  const content = {
    ...EMPTY_VAULT,
    identityPublic: identity.identityPublic,
    accountKeys: [{ generation, seed: secrets.accountSeed }],
    doors: await publicDoors(doorKeys, { name, identityPublic: identity.identityPublic }),
    chain: positionOfChain(chain),
  }
  const unlocked = { origin, name, chain, vault: { version: account.vaultVersion + 1, content }, ...secrets }
  return {
    entries: [reset, added],
    doors: await Promise.all(doorKeys.map((door) => sealDoor(door, name, secrets))),
    recoveryHash: await recoveryHash(account.recoveryCode),
    vault: await sealed(unlocked, random),
    browser: await browserKeys(unlocked, device),
    chain,
  }
}
