/** Epochs: the secret that a conversation's messages are encrypted under, sealed to both people (section 5). */
import { type Bytes, concat, equal, MalformedData, type Random, toHex } from '../wire/bytes'
import {
  type AccountKey,
  decodeEpochRecord,
  encodeEpochBody,
  encodeEpochRecord,
  encodeEpochSigned,
  type EpochMember,
  type EpochRecord,
  type Side,
} from '../wire/objects'
import { importAesKey } from './box'
import type { Device } from './device'
import { requireSignature, sign } from './ed25519'
import { EpochInvalid, HistoryLost, NoAccountKey, UnknownDevice, WrongConversation } from './errors'
import { open, seal } from './hpke'
import {
  accountKeyAt,
  type Chains,
  checkChainPosition,
  deviceOf,
  hasDevice,
  identityAt,
  newestAccountKey,
  stoodAt,
  type VerifiedChain,
} from './key_chain'
import { hash, kdf } from './labels'
import { checkLogHash, type LogPosition } from './log'

const SECRET_BYTES = 32
const NO_RECORD = new Uint8Array(32)
const SIDES = [0, 1] as const

/** An epoch that was accepted, with its secret. */
export interface OpenedEpoch {
  readonly conversation: Bytes
  /** Counts from 1. */
  readonly epoch: number
  /** Of the record. */
  readonly hash: Bytes
  /** By side. */
  readonly members: readonly [EpochMember, EpochMember]
  readonly logN: number
  readonly logHash: Bytes
  /** The author's. */
  readonly device: Bytes
  /** Null where it was sealed to an account key that one lost by starting fresh. */
  readonly secret: Bytes | null
}

export interface NewEpoch {
  readonly conversation: Bytes
  readonly previous: OpenedEpoch | null
  readonly chains: Chains
  /** The last position of the log that was checked here. */
  readonly log: LogPosition
  readonly device: Device
  readonly random: Random
  /** 64 bytes for each side's sealing, so that a golden vector can be made again. */
  readonly unsafeRandomnessForTests?: readonly [Bytes, Bytes]
}

/** The next epoch's record, for the server, and the same opened. */
export async function createEpoch(
  next: NewEpoch,
): Promise<{ readonly record: Bytes; readonly epoch: OpenedEpoch }> {
  const secret = next.random(SECRET_BYTES)
  const described = {
    conversation: next.conversation,
    epoch: (next.previous?.epoch ?? 0) + 1,
    members: [memberNow(next.chains[0]), memberNow(next.chains[1])] as const,
    logN: next.log.n,
    logHash: next.log.hash,
    device: next.device.id,
  }
  const body = encodeEpochBody({
    ...described,
    prev: next.previous?.hash ?? NO_RECORD,
    secretCommitment: await hash('epoch/secret', secret),
  })
  const sealed = [await sealSecret(next, body, 0, secret), await sealSecret(next, body, 1, secret)] as const
  const signature = await sign(next.device.key, 'epoch', encodeEpochSigned(body, sealed))
  const record = encodeEpochRecord(body, sealed, signature)
  return { record, epoch: { ...described, secret, hash: await hash('epoch/record', record) } }
}

function memberNow(chain: VerifiedChain): EpochMember {
  const { generation } = newestAccountKey(chain)
  return { fingerprint: chain.fingerprint, generation, seq: chain.seq, head: chain.head }
}

async function sealSecret(next: NewEpoch, body: Bytes, side: Side, secret: Bytes): Promise<Bytes> {
  const { publicKey } = newestAccountKey(next.chains[side])
  const randomness = next.unsafeRandomnessForTests?.[side]
  const sealing = { publicKey, what: 'epoch/seal', context: await sealContext(body, side) } as const
  return seal(
    randomness === undefined ? sealing : { ...sealing, unsafeRandomnessForTests: randomness },
    secret,
  )
}

async function sealContext(body: Bytes, side: Side): Promise<Bytes> {
  return Uint8Array.of(...(await hash('epoch/body', body)), side)
}

export interface EpochContext {
  readonly conversation: Bytes
  readonly previous: OpenedEpoch | null
  /** One's own. */
  readonly side: Side
  readonly chains: Chains
  /** Of one's own vault. */
  readonly accountKeys: readonly AccountKey[]
  /** The hashes of the log that were checked here. */
  readonly knownHash?: (n: number) => Bytes | undefined
}

/**
 * Checks a record against both key chains and the record before, and opens its secret.
 *
 * Throws `EpochInvalid`, `WrongConversation`, `UnknownDevice`, `ChainBehind`, `ChainForked`, `LogMismatch` or
 * `NoAccountKey`. After `UnknownDevice` and `ChainBehind` a newer chain can change the answer.
 */
export async function openEpoch(bytes: Bytes, context: EpochContext): Promise<OpenedEpoch> {
  const record = decode(bytes)
  if (!equal(record.conversation, context.conversation)) throw new WrongConversation()
  requireLink(record, context.previous)
  await requireAuthor(record, context.chains)
  for (const side of SIDES) requireMember(record, side, context)
  checkLogHash({ n: record.logN, hash: record.logHash }, context.knownHash?.(record.logN))
  const secret = await openSecret(record, context)
  const { conversation, epoch, members, logN, logHash, device } = record
  return {
    conversation,
    epoch,
    members,
    logN,
    logHash,
    device,
    secret,
    hash: await hash('epoch/record', bytes),
  }
}

function decode(record: Bytes): EpochRecord {
  try {
    return decodeEpochRecord(record)
  } catch (error) {
    throw error instanceof MalformedData ? new EpochInvalid() : error
  }
}

function requireLink(record: EpochRecord, previous: OpenedEpoch | null): void {
  if (record.epoch !== (previous?.epoch ?? 0) + 1) throw new EpochInvalid()
  if (!equal(record.prev, previous?.hash ?? NO_RECORD)) throw new EpochInvalid()
}

async function requireAuthor(record: EpochRecord, chains: Chains): Promise<void> {
  const sides = SIDES.filter((side) => hasDevice(chains[side], record.device))
  // Whoever adds the other's device to their own chain changes nothing for the other.
  const side = sides.find((one) => stoodAt(deviceOf(chains[one], record.device), record.members[one].seq))
  if (side === undefined) throw sides.length === 0 ? new UnknownDevice() : new EpochInvalid()
  const { publicKey } = deviceOf(chains[side], record.device)
  const { signed: message, signature } = record
  await requireSignature({ publicKey, what: 'epoch', message, signature }, () => new EpochInvalid())
}

function requireMember(record: EpochRecord, side: Side, context: EpochContext): void {
  const member = record.members[side]
  const chain = context.chains[side]
  if (!equal(member.fingerprint, identityAt(chain, member.seq).fingerprint)) throw new EpochInvalid()
  checkChainPosition(chain, member)
  if (accountKeyAt(chain, member.seq).generation !== member.generation) throw new EpochInvalid()
  const before = context.previous?.members[side]
  if (before === undefined) return
  if (member.generation < before.generation || member.seq < before.seq) throw new EpochInvalid()
}

async function openSecret(
  record: EpochRecord,
  { side, accountKeys, chains }: EpochContext,
): Promise<Bytes | null> {
  const { generation, seq } = record.members[side]
  const key = accountKeys.find((one) => one.generation === generation)
  if (key === undefined) {
    if (identityAt(chains[side], seq) !== chains[side].identities.at(-1)) return null
    throw new NoAccountKey()
  }
  const invalid = (): EpochInvalid => new EpochInvalid()
  const opening = {
    seed: key.seed,
    what: 'epoch/seal',
    context: await sealContext(record.body, side),
  } as const
  const secret = await open(opening, record.sealed[side], invalid)
  if (!equal(await hash('epoch/secret', secret), record.secretCommitment)) throw invalid()
  return secret
}

const deviceKeys = new WeakMap<OpenedEpoch, Map<string, Promise<CryptoKey>>>()

/** What a device seals under an epoch, each sort under a key of its own. Rejects with `HistoryLost` without the secret. */
export function deviceKey(
  epoch: OpenedEpoch,
  device: Bytes,
  what: 'message' | 'head/read',
): Promise<CryptoKey> {
  const known = deviceKeys.get(epoch) ?? new Map<string, Promise<CryptoKey>>()
  deviceKeys.set(epoch, known)
  const name = `${what}/${toHex(device)}`
  const key = known.get(name) ?? deriveDeviceKey(epoch, device, what)
  known.set(name, key)
  return key
}

async function deriveDeviceKey(
  { secret, hash: record }: OpenedEpoch,
  device: Bytes,
  what: 'message' | 'head/read',
): Promise<CryptoKey> {
  if (secret === null) throw new HistoryLost()
  return importAesKey(await kdf(secret, what, concat(record, device)))
}

/** Whether a chain shows a newer account key or a revocation, so that the next message needs a new epoch. */
export function epochIsStale(epoch: OpenedEpoch, chains: Chains): boolean {
  return SIDES.some((side) => {
    const { seq, generation } = epoch.members[side]
    if (newestAccountKey(chains[side]).generation > generation) return true
    return [...chains[side].devices.values()].some(
      ({ ended }) => ended !== null && ended.by !== 'retire' && ended.seq > seq,
    )
  })
}
