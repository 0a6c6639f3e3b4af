/** A person's key chain: who they are and which browsers are theirs (docs/protocol.md, section 4). */
import { type Bytes, equal, MalformedData, toHex } from '../wire/bytes'
import {
  type ChainEntry,
  type ChainEntryBody,
  type ChainPayload,
  type ChainPosition,
  decodeChainEntry,
  encodeChainBody,
  encodeChainEntry,
  type Side,
} from '../wire/objects'
import { deviceId } from './device'
import { requireSignature, sign, type SigningKey } from './ed25519'
import {
  ChainBehind,
  ChainForeign,
  ChainForked,
  ChainInvalid,
  ChainRolledBack,
  IdentityChanged,
  UnknownDevice,
} from './errors'
import { identityFingerprint } from './fingerprint'
import { hash } from './labels'

const NO_ENTRY = new Uint8Array(32)

/** Who signed the chain from entry `seq` on: by `genesis`, or after a `reset`. */
export interface ChainIdentity {
  readonly seq: number
  /** Milliseconds since 1970, by the clock of whoever signed. */
  readonly at: number
  readonly identityPublic: Bytes
  readonly fingerprint: Bytes
}

export interface ChainAccountKey {
  readonly generation: number
  readonly publicKey: Bytes
  readonly seq: number
  readonly at: number
}

export interface DeviceEnd {
  readonly seq: number
  readonly at: number
  readonly by: 'revoke' | 'retire' | 'reset'
}

export interface ChainDevice {
  readonly id: Bytes
  readonly publicKey: Bytes
  readonly addedSeq: number
  readonly addedAt: number
  /** Null while it stands. */
  readonly ended: DeviceEnd | null
}

/** A chain that was accepted, entry by entry. */
export interface VerifiedChain {
  readonly origin: string
  readonly name: string
  /** The present identity. */
  readonly identityPublic: Bytes
  readonly fingerprint: Bytes
  /** In the order of the chain; more than one only after a `reset`. */
  readonly identities: readonly ChainIdentity[]
  /** Account keys by generation. */
  readonly accountKeys: ReadonlyMap<number, ChainAccountKey>
  readonly vaultGeneration: number
  /** All that ever stood on the chain, by device id in hexadecimal, in the order of the chain. */
  readonly devices: ReadonlyMap<string, ChainDevice>
  readonly seq: number
  readonly head: Bytes
  /** The hash of each entry; entry `seq` is at `seq - 1`. */
  readonly hashes: readonly Bytes[]
}

/** The two people's chains, by side. */
export type Chains = readonly [VerifiedChain, VerifiedChain]

export interface ChainPin extends ChainPosition {
  readonly identityPublic: Bytes
}

export interface ChainExpectation {
  readonly origin: string
  readonly name: string
  /** What was seen before, if anything. */
  readonly pinned?: ChainPin
}

/** Throws `ChainInvalid`, `ChainForeign`, `IdentityChanged` or `ChainRolledBack`. */
export async function verifyKeyChain(
  entries: readonly Bytes[],
  expected: ChainExpectation,
): Promise<VerifiedChain> {
  const [genesis, ...others] = entries
  if (genesis === undefined) throw expected.pinned === undefined ? new ChainInvalid() : new ChainRolledBack()
  const chain = await extendKeyChain(await begin(genesis, expected), others)
  if (expected.pinned !== undefined) requirePinned(chain, expected.pinned)
  return chain
}

/** One's own chain: a `reset` after what was pinned is somebody else's. Throws what `verifyKeyChain` throws. */
export async function verifyOwnKeyChain(
  entries: readonly Bytes[],
  expected: ChainExpectation & { readonly pinned: ChainPin },
): Promise<VerifiedChain> {
  const chain = await verifyKeyChain(entries, expected)
  if (identityChangedSince(chain, expected.pinned)) throw new IdentityChanged()
  return chain
}

async function begin(genesis: Bytes, expected: ChainExpectation): Promise<VerifiedChain> {
  const entry = decode(genesis)
  const { payload } = entry
  if (payload.kind !== 'genesis' || entry.seq !== 1 || !equal(entry.prev, NO_ENTRY)) throw new ChainInvalid()
  await requireSignedBy(payload.identityPublic, entry)
  const { origin, name, identityPublic } = payload
  if (origin !== expected.origin || name !== expected.name) throw new ChainForeign()
  const head = await hash('chain/entry', genesis)
  const fingerprint = await identityFingerprint(origin, name, identityPublic)
  return {
    origin,
    name,
    identityPublic,
    fingerprint,
    identities: [{ seq: 1, at: entry.at, identityPublic, fingerprint }],
    accountKeys: withAccountKey(new Map(), entry, payload),
    vaultGeneration: 1,
    devices: new Map(),
    seq: 1,
    head,
    hashes: [head],
  }
}

/**
 * Whoever was pinned must have signed the chain at that place; who signs it now is for `identityChangedSince`.
 *
 * Throws `IdentityChanged` or `ChainRolledBack`.
 */
export function requirePinned(chain: VerifiedChain, pinned: ChainPin): void {
  if (!chain.identities.some(({ identityPublic }) => equal(identityPublic, pinned.identityPublic)))
    throw new IdentityChanged()
  const found = chain.hashes[pinned.seq - 1]
  if (found === undefined || !equal(found, pinned.head)) throw new ChainRolledBack()
  if (!equal(identityAt(chain, pinned.seq).identityPublic, pinned.identityPublic)) throw new IdentityChanged()
}

/** Whether the person began anew, with another identity, since `pinned` was seen. */
export function identityChangedSince(chain: VerifiedChain, pinned: ChainPin): boolean {
  return !equal(chain.identityPublic, pinned.identityPublic)
}

/** Who signed the entries around `seq`. Throws `ChainBehind` for a place after the chain's end. */
export function identityAt(chain: VerifiedChain, seq: number): ChainIdentity {
  const found = chain.identities.findLast((identity) => identity.seq <= seq)
  if (found === undefined || seq > chain.seq) throw new ChainBehind()
  return found
}

/** The chain with entries that came later. Throws `ChainInvalid` and leaves the chain as it was. */
export async function extendKeyChain(
  chain: VerifiedChain,
  entries: readonly Bytes[],
): Promise<VerifiedChain> {
  let extended = chain
  for (const entry of entries) extended = await extend(extended, entry)
  return extended
}

async function extend(chain: VerifiedChain, bytes: Bytes): Promise<VerifiedChain> {
  const entry = decode(bytes)
  if (entry.seq !== chain.seq + 1 || !equal(entry.prev, chain.head)) throw new ChainInvalid()
  const changed = await changedBy(chain, entry)
  const head = await hash('chain/entry', bytes)
  return { ...chain, ...changed, seq: entry.seq, head, hashes: [...chain.hashes, head] }
}

/** What the entry changes, once it is known to be signed by who may. */
async function changedBy(chain: VerifiedChain, entry: ChainEntry): Promise<Partial<VerifiedChain>> {
  const { payload } = entry
  switch (payload.kind) {
    case 'genesis':
      throw new ChainInvalid()
    case 'device_add': {
      await requireSignedBy(chain.identityPublic, entry)
      const { devicePublic: publicKey } = payload
      const id = await deviceId(publicKey)
      if (chain.devices.has(toHex(id))) throw new ChainInvalid()
      const device = { id, publicKey, addedSeq: entry.seq, addedAt: entry.at, ended: null }
      return { devices: new Map([...chain.devices, [toHex(id), device]]) }
    }
    case 'device_revoke':
      await requireSignedBy(chain.identityPublic, entry)
      return {
        devices: withEnded(chain, standing(chain, payload.device), { ...placeOf(entry), by: 'revoke' }),
      }
    case 'device_retire': {
      const device = standing(chain, payload.device)
      await requireSignedBy(device.publicKey, entry)
      return { devices: withEnded(chain, device, { ...placeOf(entry), by: 'retire' }) }
    }
    case 'ak_rotate': {
      await requireSignedBy(chain.identityPublic, entry)
      const { vaultGeneration } = payload
      const steps = vaultGeneration - chain.vaultGeneration
      if (!isNextGeneration(chain, payload) || (steps !== 0 && steps !== 1)) throw new ChainInvalid()
      return { accountKeys: withAccountKey(chain.accountKeys, entry, payload), vaultGeneration }
    }
    case 'reset':
      return reset(chain, entry, payload)
  }
}

async function reset(
  chain: VerifiedChain,
  entry: ChainEntry,
  payload: Extract<ChainPayload, { readonly kind: 'reset' | 'genesis' }>,
): Promise<Partial<VerifiedChain>> {
  const { origin, name, identityPublic } = payload
  await requireSignedBy(identityPublic, entry)
  if (origin !== chain.origin || name !== chain.name) throw new ChainForeign()
  const isNew = chain.identities.every((one) => !equal(one.identityPublic, identityPublic))
  if (!isNew || !isNextGeneration(chain, payload)) throw new ChainInvalid()
  const fingerprint = await identityFingerprint(origin, name, identityPublic)
  const end = { ...placeOf(entry), by: 'reset' } as const
  return {
    identityPublic,
    fingerprint,
    identities: [...chain.identities, { ...placeOf(entry), identityPublic, fingerprint }],
    accountKeys: withAccountKey(chain.accountKeys, entry, payload),
    vaultGeneration: chain.vaultGeneration + 1,
    devices: activeDevices(chain).reduce(
      (devices, device) => withEnded({ devices }, device, end),
      chain.devices,
    ),
  }
}

function placeOf({ seq, at }: ChainEntry): { readonly seq: number; readonly at: number } {
  return { seq, at }
}

function standing(chain: VerifiedChain, id: Bytes): ChainDevice {
  const device = chain.devices.get(toHex(id))
  if (device === undefined || device.ended !== null) throw new ChainInvalid()
  return device
}

function withEnded(
  chain: Pick<VerifiedChain, 'devices'>,
  device: ChainDevice,
  ended: DeviceEnd,
): ReadonlyMap<string, ChainDevice> {
  return new Map(chain.devices).set(toHex(device.id), { ...device, ended })
}

function isNextGeneration(chain: VerifiedChain, { generation }: { readonly generation: number }): boolean {
  return generation === newestAccountKey(chain).generation + 1
}

function withAccountKey(
  keys: ReadonlyMap<number, ChainAccountKey>,
  entry: ChainEntry,
  made: { readonly generation: number; readonly accountPublic: Bytes },
): ReadonlyMap<number, ChainAccountKey> {
  const { generation, accountPublic: publicKey } = made
  return new Map(keys).set(generation, { generation, publicKey, ...placeOf(entry) })
}

function decode(entry: Bytes): ChainEntry {
  try {
    return decodeChainEntry(entry)
  } catch (error) {
    throw error instanceof MalformedData ? new ChainInvalid() : error
  }
}

function requireSignedBy(identityPublic: Bytes, entry: ChainEntry): Promise<void> {
  const signed = {
    publicKey: identityPublic,
    what: 'chain',
    message: entry.body,
    signature: entry.signature,
  } as const
  return requireSignature(signed, () => new ChainInvalid())
}

/** The bytes of the next entry after `previous`; null makes the first. `at` is in milliseconds since 1970. */
export async function signChainEntry(next: {
  readonly previous: ChainPosition | null
  readonly payload: ChainPayload
  /** The identity's, or for `device_retire` that device's. */
  readonly key: SigningKey
  readonly at: number
}): Promise<Bytes> {
  const entry: ChainEntryBody = {
    seq: (next.previous?.seq ?? 0) + 1,
    prev: next.previous?.head ?? NO_ENTRY,
    payload: next.payload,
    at: next.at,
  }
  const body = encodeChainBody(entry)
  return encodeChainEntry(body, await sign(next.key, 'chain', body))
}

/** The entry by which a browser that signs out ends itself. */
export function retireEntry(
  chain: VerifiedChain,
  device: { readonly id: Bytes; readonly key: SigningKey },
  now: number,
): Promise<Bytes> {
  const payload = { kind: 'device_retire', device: device.id } as const
  return signChainEntry({ previous: positionOfChain(chain), payload, key: device.key, at: now })
}

export function positionOfChain(chain: VerifiedChain): ChainPosition {
  return { seq: chain.seq, head: chain.head }
}

export function newestAccountKey(chain: Pick<VerifiedChain, 'accountKeys'>): ChainAccountKey {
  return accountKeyAt(chain, Infinity)
}

/** The newest account key at that place of the chain. */
export function accountKeyAt(chain: Pick<VerifiedChain, 'accountKeys'>, seq: number): ChainAccountKey {
  const found = [...chain.accountKeys.values()].findLast((key) => key.seq <= seq)
  if (found === undefined) throw new ChainInvalid()
  return found
}

/** The hash of the entry at `seq`. Throws `ChainBehind` when the chain known here ends before it. */
export function chainHashAt(chain: VerifiedChain, seq: number): Bytes {
  const found = chain.hashes[seq - 1]
  if (found === undefined) throw new ChainBehind()
  return found
}

/** Throws `ChainForked` when somebody else saw another entry at that place, `ChainBehind` when it is not known here. */
export function checkChainPosition(chain: VerifiedChain, seen: ChainPosition): void {
  if (!equal(chainHashAt(chain, seen.seq), seen.head)) throw new ChainForked()
}

/** Those that may sign now, in the order of the chain. */
export function activeDevices(chain: VerifiedChain): readonly ChainDevice[] {
  return [...chain.devices.values()].filter(({ ended }) => ended === null)
}

/** Whether it may sign now. */
export function hasActiveDevice(chain: VerifiedChain, id: Bytes): boolean {
  return chain.devices.get(toHex(id))?.ended === null
}

/** Whether it could sign at that place of the chain. */
export function stoodAt({ addedSeq, ended }: ChainDevice, seq: number): boolean {
  return addedSeq <= seq && (ended === null || seq < ended.seq)
}

export function hasDevice(chain: VerifiedChain, id: Bytes): boolean {
  return chain.devices.has(toHex(id))
}

/** A device that stands or stood on the chain. Throws `UnknownDevice`. */
export function deviceOf(chain: VerifiedChain, id: Bytes): ChainDevice {
  const device = chain.devices.get(toHex(id))
  if (device === undefined) throw new UnknownDevice()
  return device
}

export function otherSide(side: Side): Side {
  return side === 0 ? 1 : 0
}
