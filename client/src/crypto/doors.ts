/** Doors: key pairs derived from a password or a recovery code, to which vault key and identity are sealed. */
import type { Door } from '../wire/api'
import { type Bytes, equal } from '../wire/bytes'
import { encodeCbor } from '../wire/cbor'
import type { DoorKind, DoorPublic } from '../wire/objects'
import { DoorClosed } from './errors'
import { open, publicOfSeed, seal } from './hpke'
import { kdf, mac } from './labels'

/** Both halves of a door, while somebody's password or code is at hand. */
export interface DoorKey {
  readonly kind: DoorKind
  readonly publicKey: Bytes
  readonly seed: Bytes
  readonly tagKey: Bytes
}

/** What is behind every door of an account. */
export interface BehindDoor {
  readonly vaultKey: Bytes
  readonly identitySeed: Bytes
}

export async function doorKey(kind: DoorKind, secret: Bytes): Promise<DoorKey> {
  const seed = await kdf(secret, `door/${kind}`)
  return { kind, seed, publicKey: await publicOfSeed(seed), tagKey: await kdf(secret, 'door/tag') }
}

/**
 * What the vault keeps of a door: enough to seal to it, and a tag that only the password or the code can make.
 *
 * Anybody can seal other keys to a public key. The tag ties the door to the identity it was made for.
 */
export async function publicDoor(
  { kind, publicKey, tagKey }: DoorKey,
  owner: { readonly name: string; readonly identityPublic: Bytes },
): Promise<DoorPublic> {
  const tag = await mac(tagKey, 'door/tag', encodeCbor([owner.name, kind, owner.identityPublic]))
  return { kind, publicKey, tag }
}

export async function sealDoor(
  door: { readonly kind: DoorKind; readonly publicKey: Bytes },
  name: string,
  behind: BehindDoor,
): Promise<Door> {
  const { kind, publicKey } = door
  const context = encodeCbor([name, kind])
  return {
    kind,
    publicKey,
    sealedVaultKey: await seal({ publicKey, what: 'door/vault-key', context }, behind.vaultKey),
    sealedIdentity: await seal({ publicKey, what: 'door/identity', context }, behind.identitySeed),
  }
}

/** Throws `DoorClosed` for another password or code, another name, or a door that was changed. */
export async function openDoor(door: Door, name: string, key: DoorKey): Promise<BehindDoor> {
  const closed = (): DoorClosed => new DoorClosed()
  if (door.kind !== key.kind || !equal(door.publicKey, key.publicKey)) throw closed()
  const context = encodeCbor([name, key.kind])
  const vaultKey = await open(
    { seed: key.seed, what: 'door/vault-key', context },
    door.sealedVaultKey,
    closed,
  )
  const identitySeed = await open(
    { seed: key.seed, what: 'door/identity', context },
    door.sealedIdentity,
    closed,
  )
  if (vaultKey.length !== 32 || identitySeed.length !== 32) throw closed()
  return { vaultKey, identitySeed }
}
