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
import { requireSignature, sign } from './ed25519'
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

/** A chain that was accepted, entry by entry. */
export interface VerifiedChain {
  readonly origin: string
  readonly name: string
  readonly identityPublic: Bytes
  readonly fingerprint: Bytes
  /** Public account keys by generation. */
  readonly accountKeys: ReadonlyMap<number, Bytes>
  /** Public device keys by device id in hexadecimal. */
  readonly devices: ReadonlyMap<string, Bytes>
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

async function begin(genesis: Bytes, expected: ChainExpectation): Promise<VerifiedChain> {
  const entry = decode(genesis)
  const { payload } = entry
  if (payload.kind !== 'genesis' || entry.seq !== 1 || !equal(entry.prev, NO_ENTRY)) throw new ChainInvalid()
  await requireSignedBy(payload.identityPublic, entry)
  const { origin, name, identityPublic } = payload
  if (origin !== expected.origin || name !== expected.name) throw new ChainForeign()
  const head = await hash('chain/entry', genesis)
  return {
    origin,
    name,
    identityPublic,
    fingerprint: await identityFingerprint(origin, name, identityPublic),
    accountKeys: new Map([[payload.generation, payload.accountPublic]]),
    devices: new Map(),
    seq: 1,
    head,
    hashes: [head],
  }
}

function requirePinned(chain: VerifiedChain, pinned: ChainPin): void {
  if (!equal(chain.identityPublic, pinned.identityPublic)) throw new IdentityChanged()
  const found = chain.hashes[pinned.seq - 1]
  if (found === undefined || !equal(found, pinned.head)) throw new ChainRolledBack()
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
  if (entry.payload.kind !== 'device_add') throw new ChainInvalid()
  if (entry.seq !== chain.seq + 1 || !equal(entry.prev, chain.head)) throw new ChainInvalid()
  await requireSignedBy(chain.identityPublic, entry)
  const id = toHex(await deviceId(entry.payload.devicePublic))
  if (chain.devices.has(id)) throw new ChainInvalid()
  const head = await hash('chain/entry', bytes)
  return {
    ...chain,
    devices: new Map([...chain.devices, [id, entry.payload.devicePublic]]),
    seq: entry.seq,
    head,
    hashes: [...chain.hashes, head],
  }
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
  readonly identitySeed: Bytes
  readonly at: number
}): Promise<Bytes> {
  const entry: ChainEntryBody = {
    seq: (next.previous?.seq ?? 0) + 1,
    prev: next.previous?.head ?? NO_ENTRY,
    payload: next.payload,
    at: next.at,
  }
  const body = encodeChainBody(entry)
  return encodeChainEntry(body, await sign({ kind: 'seed', seed: next.identitySeed }, 'chain', body))
}

export function positionOfChain(chain: VerifiedChain): ChainPosition {
  return { seq: chain.seq, head: chain.head }
}

export function newestAccountKey(chain: VerifiedChain): {
  readonly generation: number
  readonly publicKey: Bytes
} {
  const generation = Math.max(...chain.accountKeys.keys())
  const publicKey = chain.accountKeys.get(generation)
  if (publicKey === undefined) throw new ChainInvalid()
  return { generation, publicKey }
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

export function hasDevice(chain: VerifiedChain, id: Bytes): boolean {
  return chain.devices.has(toHex(id))
}

/** The public key of a device of that person. Throws `UnknownDevice`. */
export function devicePublicOf(chain: VerifiedChain, id: Bytes): Bytes {
  const publicKey = chain.devices.get(toHex(id))
  if (publicKey === undefined) throw new UnknownDevice()
  return publicKey
}

export function otherSide(side: Side): Side {
  return side === 0 ? 1 : 0
}
