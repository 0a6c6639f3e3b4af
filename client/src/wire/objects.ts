/**
 * The signed, hashed and encrypted objects of docs/protocol.md, sections 3 to 6, as bytes and as typed data.
 *
 * Decoding checks form only: types, lengths, ranges, order. Whether an object is genuine is the matter of `crypto/`.
 */
import { type Bytes, equal, fromUtf8, MalformedData, toHex, uint64, utf8 } from './bytes'
import {
  bytesAt,
  type CborValue,
  decodeExact,
  encodeCbor,
  exactly,
  list,
  places,
  textAt,
  uintAt,
} from './cbor'

const VERSION = 1
const SUITE = 2
const ID_BYTES = 16
export const DEVICE_ID_BYTES = ID_BYTES
const KEY_BYTES = 32
const HASH_BYTES = 32
const NONCE_BYTES = 12
const SIGNATURE_BYTES = 64
export const ACCOUNT_KEY_BYTES = 1216
const SEALED_SECRET_BYTES = 1120 + 32 + 16
const READ_BOX_BYTES = NONCE_BYTES + 11 + 16

export type Side = 0 | 1
export type DoorKind = 'password' | 'recovery'

/** A place in a key chain: the entry's number and hash. `seq` counts from 1. */
export interface ChainPosition {
  readonly seq: number
  readonly head: Bytes
}

// Key chain

export type ChainPayload =
  | {
      readonly kind: 'genesis'
      readonly origin: string
      readonly name: string
      readonly identityPublic: Bytes
      readonly generation: number
      readonly accountPublic: Bytes
    }
  | { readonly kind: 'device_add'; readonly devicePublic: Bytes }
  | { readonly kind: 'device_revoke' | 'device_retire'; readonly device: Bytes }
  | {
      readonly kind: 'ak_rotate'
      readonly generation: number
      readonly accountPublic: Bytes
      readonly vaultGeneration: number
    }
  | {
      readonly kind: 'reset'
      readonly origin: string
      readonly name: string
      readonly identityPublic: Bytes
      readonly generation: number
      readonly accountPublic: Bytes
    }

export interface ChainEntryBody {
  readonly seq: number
  readonly prev: Bytes
  readonly payload: ChainPayload
  /** Milliseconds since 1970. */
  readonly at: number
}

export interface ChainEntry extends ChainEntryBody {
  readonly body: Bytes
  readonly signature: Bytes
}

export function encodeChainBody(entry: ChainEntryBody): Bytes {
  const { payload } = entry
  return encodeCbor([VERSION, entry.seq, entry.prev, payload.kind, payloadPlaces(payload), entry.at])
}

function payloadPlaces(payload: ChainPayload): readonly CborValue[] {
  switch (payload.kind) {
    case 'genesis':
    case 'reset':
      return [payload.origin, payload.name, payload.identityPublic, payload.generation, payload.accountPublic]
    case 'device_add':
      return [payload.devicePublic]
    case 'device_revoke':
    case 'device_retire':
      return [payload.device]
    case 'ak_rotate':
      return [payload.generation, payload.accountPublic, payload.vaultGeneration]
  }
}

export function encodeChainEntry(body: Bytes, signature: Bytes): Bytes {
  return encodeCbor([body, signature])
}

export function decodeChainEntry(entry: Bytes): ChainEntry {
  const [bodyPlace, signature] = places(decodeExact(entry), 2, 'key-chain entry')
  const body = bytesAt(bodyPlace, 'key-chain entry')
  const [version, seq, prev, kind, payload, at] = places(decodeExact(body), 6, 'key-chain entry')
  exactly(version, VERSION, 'version of a key-chain entry')
  return {
    body,
    signature: bytesAt(signature, 'signature', SIGNATURE_BYTES),
    seq: uintAt(seq, 'number of a key-chain entry', 1),
    prev: bytesAt(prev, 'link of a key-chain entry', HASH_BYTES),
    payload: chainPayload(textAt(kind, 'kind of a key-chain entry'), payload),
    at: uintAt(at, 'time of a key-chain entry'),
  }
}

function chainPayload(kind: string, payload: CborValue | undefined): ChainPayload {
  switch (kind) {
    case 'genesis':
    case 'reset':
      return newIdentity(kind, payload)
    case 'device_add': {
      const [devicePublic] = places(payload, 1, kind)
      return { kind, devicePublic: bytesAt(devicePublic, 'device key', KEY_BYTES) }
    }
    case 'device_revoke':
    case 'device_retire': {
      const [device] = places(payload, 1, kind)
      return { kind, device: bytesAt(device, 'device', ID_BYTES) }
    }
    case 'ak_rotate': {
      const [generation, accountPublic, vaultGeneration] = places(payload, 3, kind)
      return {
        kind,
        generation: uintAt(generation, 'generation', 2),
        accountPublic: bytesAt(accountPublic, 'account key', ACCOUNT_KEY_BYTES),
        vaultGeneration: uintAt(vaultGeneration, 'generation of a vault key', 1),
      }
    }
    default:
      throw new MalformedData('kind of a key-chain entry')
  }
}

function newIdentity(kind: 'genesis' | 'reset', payload: CborValue | undefined): ChainPayload {
  const [origin, name, identityPublic, generation, accountPublic] = places(payload, 5, kind)
  if (kind === 'genesis') exactly(generation, 1, 'generation in genesis')
  return {
    kind,
    origin: textAt(origin, 'origin'),
    name: textAt(name, 'name'),
    identityPublic: bytesAt(identityPublic, 'identity key', KEY_BYTES),
    generation: uintAt(generation, 'generation', kind === 'genesis' ? 1 : 2),
    accountPublic: bytesAt(accountPublic, 'account key', ACCOUNT_KEY_BYTES),
  }
}

// Epochs

export interface EpochMember {
  readonly fingerprint: Bytes
  readonly generation: number
  readonly seq: number
  readonly head: Bytes
}

export interface EpochBody {
  readonly conversation: Bytes
  readonly epoch: number
  readonly prev: Bytes
  readonly members: readonly [EpochMember, EpochMember]
  readonly secretCommitment: Bytes
  readonly logN: number
  readonly logHash: Bytes
  readonly device: Bytes
}

export interface EpochRecord extends EpochBody {
  readonly body: Bytes
  readonly sealed: readonly [Bytes, Bytes]
  readonly signature: Bytes
  /** What the signature is over. */
  readonly signed: Bytes
}

export function encodeEpochBody(body: EpochBody): Bytes {
  return encodeCbor([
    VERSION,
    body.conversation,
    body.epoch,
    body.prev,
    memberPlaces(body.members[0]),
    memberPlaces(body.members[1]),
    body.secretCommitment,
    body.logN,
    body.logHash,
    body.device,
  ])
}

function memberPlaces(member: EpochMember): readonly CborValue[] {
  return [member.fingerprint, member.generation, member.seq, member.head]
}

export function encodeEpochSigned(body: Bytes, sealed: readonly [Bytes, Bytes]): Bytes {
  return encodeCbor([body, ...sealed])
}

export function encodeEpochRecord(body: Bytes, sealed: readonly [Bytes, Bytes], signature: Bytes): Bytes {
  return encodeCbor([body, ...sealed, signature])
}

export function decodeEpochRecord(record: Bytes): EpochRecord {
  const [bodyPlace, sealed0, sealed1, signature] = places(decodeExact(record), 4, 'epoch record')
  const body = bytesAt(bodyPlace, 'epoch record')
  const sealed = [
    bytesAt(sealed0, 'sealed epoch secret', SEALED_SECRET_BYTES),
    bytesAt(sealed1, 'sealed epoch secret', SEALED_SECRET_BYTES),
  ] as const
  return {
    ...epochBody(body),
    body,
    sealed,
    signature: bytesAt(signature, 'signature', SIGNATURE_BYTES),
    signed: encodeEpochSigned(body, sealed),
  }
}

function epochBody(body: Bytes): EpochBody {
  const [version, conversation, epoch, prev, member0, member1, secretCommitment, logN, logHash, device] =
    places(decodeExact(body), 10, 'epoch record')
  exactly(version, VERSION, 'version of an epoch record')
  return {
    conversation: bytesAt(conversation, 'conversation', ID_BYTES),
    epoch: uintAt(epoch, 'epoch', 1),
    prev: bytesAt(prev, 'link of an epoch record', HASH_BYTES),
    members: [epochMember(member0), epochMember(member1)],
    secretCommitment: bytesAt(secretCommitment, 'commitment to an epoch secret', HASH_BYTES),
    logN: uintAt(logN, 'log position'),
    logHash: bytesAt(logHash, 'log hash', HASH_BYTES),
    device: bytesAt(device, 'device', ID_BYTES),
  }
}

function epochMember(place: CborValue | undefined): EpochMember {
  const [fingerprint, generation, seq, head] = places(place, 4, 'member of an epoch')
  return {
    fingerprint: bytesAt(fingerprint, 'fingerprint', HASH_BYTES),
    generation: uintAt(generation, 'generation', 1),
    seq: uintAt(seq, 'key-chain position', 1),
    head: bytesAt(head, 'key-chain head', HASH_BYTES),
  }
}

// Envelopes

export interface EnvelopeHeader {
  readonly conversation: Bytes
  readonly epoch: number
  readonly epochHash: Bytes
  readonly device: Bytes
  readonly clientId: Bytes
  readonly writer: Bytes
  readonly seq: number
  readonly prev: Bytes
  readonly headN: number
  readonly headHash: Bytes
  readonly own: ChainPosition
  readonly peer: ChainPosition
  readonly vaultVersion: number
  readonly commitment: Bytes
}

export interface Envelope {
  readonly header: EnvelopeHeader
  readonly headerBytes: Bytes
  readonly nonce: Bytes
  readonly ciphertext: Bytes
  readonly signature: Bytes
  /** What the signature is over. */
  readonly signed: Bytes
}

export function encodeHeader(header: EnvelopeHeader): Bytes {
  return encodeCbor([
    VERSION,
    SUITE,
    header.conversation,
    header.epoch,
    header.epochHash,
    header.device,
    header.clientId,
    header.writer,
    header.seq,
    header.prev,
    header.headN,
    header.headHash,
    [header.own.seq, header.own.head],
    [header.peer.seq, header.peer.head],
    header.vaultVersion,
    header.commitment,
  ])
}

export function encodeEnvelopeSigned(header: Bytes, nonce: Bytes, ciphertext: Bytes): Bytes {
  return encodeCbor([header, nonce, ciphertext])
}

export function encodeEnvelope(header: Bytes, nonce: Bytes, ciphertext: Bytes, signature: Bytes): Bytes {
  return encodeCbor([header, nonce, ciphertext, signature])
}

export function decodeEnvelope(envelope: Bytes): Envelope {
  const [headerPlace, noncePlace, ciphertextPlace, signature] = places(decodeExact(envelope), 4, 'envelope')
  const headerBytes = bytesAt(headerPlace, 'envelope header')
  const nonce = bytesAt(noncePlace, 'nonce', NONCE_BYTES)
  const ciphertext = bytesAt(ciphertextPlace, 'ciphertext')
  return {
    header: envelopeHeader(headerBytes),
    headerBytes,
    nonce,
    ciphertext,
    signature: bytesAt(signature, 'signature', SIGNATURE_BYTES),
    signed: encodeEnvelopeSigned(headerBytes, nonce, ciphertext),
  }
}

function envelopeHeader(bytes: Bytes): EnvelopeHeader {
  const at = places(decodeExact(bytes), 16, 'envelope header')
  exactly(at[0], VERSION, 'version of an envelope')
  exactly(at[1], SUITE, 'suite of an envelope')
  return {
    conversation: bytesAt(at[2], 'conversation', ID_BYTES),
    epoch: uintAt(at[3], 'epoch', 1),
    epochHash: bytesAt(at[4], 'hash of an epoch record', HASH_BYTES),
    device: bytesAt(at[5], 'device', ID_BYTES),
    clientId: bytesAt(at[6], 'client id', ID_BYTES),
    writer: bytesAt(at[7], 'writer', ID_BYTES),
    seq: uintAt(at[8], 'number of a writer', 1),
    prev: bytesAt(at[9], 'link of a writer', HASH_BYTES),
    headN: uintAt(at[10], 'log position'),
    headHash: bytesAt(at[11], 'log hash', HASH_BYTES),
    own: chainPosition(at[12]),
    peer: chainPosition(at[13]),
    vaultVersion: uintAt(at[14], 'version of a vault', 1),
    commitment: bytesAt(at[15], 'commitment', HASH_BYTES),
  }
}

function chainPosition(place: CborValue | undefined): ChainPosition {
  const [seq, head] = places(place, 2, 'key-chain position')
  return { seq: uintAt(seq, 'key-chain position', 1), head: bytesAt(head, 'key-chain head', HASH_BYTES) }
}

/** What a message says. `sentAt` is the sender's clock, in milliseconds since 1970. */
export interface MessageContent {
  readonly kind: 'text'
  readonly sentAt: number
  readonly text: string
}

const TEXT_KIND = 1

export function encodeContent(content: MessageContent): Bytes {
  return encodeCbor([VERSION, TEXT_KIND, content.sentAt, utf8(content.text)])
}

export function decodeContent(bytes: Bytes): MessageContent {
  const [version, kind, sentAt, body] = places(decodeExact(bytes), 4, 'message content')
  exactly(version, VERSION, 'version of message content')
  exactly(kind, TEXT_KIND, 'kind of message content')
  return { kind: 'text', sentAt: uintAt(sentAt, 'time of a message'), text: fromUtf8(bytesAt(body, 'text')) }
}

// Signed heads

export interface HeadBody {
  readonly conversation: Bytes
  readonly n: number
  readonly hash: Bytes
  readonly vaultVersion: number
  readonly device: Bytes
  /** Whose secret the read position is encrypted under. */
  readonly epoch: number
  /** The box with the read position. */
  readonly read: Bytes
}

export function encodeHeadBody(head: HeadBody): Bytes {
  return encodeCbor([
    VERSION,
    head.conversation,
    head.n,
    head.hash,
    head.vaultVersion,
    head.device,
    head.epoch,
    head.read,
  ])
}

/** Always of the same length, so that its size says nothing. */
export function encodeReadPosition(n: number): Bytes {
  return encodeCbor([VERSION, uint64(n)])
}

export function decodeReadPosition(bytes: Bytes): number {
  const [version, place] = places(decodeExact(bytes), 2, 'read position')
  exactly(version, VERSION, 'version of a read position')
  const n = new DataView(bytesAt(place, 'read position', 8).buffer).getBigUint64(0)
  if (n > Number.MAX_SAFE_INTEGER) throw new MalformedData('read position')
  return Number(n)
}

export function encodeHead(body: Bytes, signature: Bytes): Bytes {
  return encodeCbor([body, signature])
}

export function decodeHead(head: Bytes): HeadBody & { readonly body: Bytes; readonly signature: Bytes } {
  const [bodyPlace, signature] = places(decodeExact(head), 2, 'head')
  const body = bytesAt(bodyPlace, 'head')
  const [version, conversation, n, hash, vaultVersion, device, epoch, read] = places(
    decodeExact(body),
    8,
    'head',
  )
  exactly(version, VERSION, 'version of a head')
  return {
    body,
    signature: bytesAt(signature, 'signature', SIGNATURE_BYTES),
    conversation: bytesAt(conversation, 'conversation', ID_BYTES),
    n: uintAt(n, 'log position'),
    hash: bytesAt(hash, 'log hash', HASH_BYTES),
    vaultVersion: uintAt(vaultVersion, 'version of a vault', 1),
    device: bytesAt(device, 'device', ID_BYTES),
    epoch: uintAt(epoch, 'epoch', 1),
    read: bytesAt(read, 'read position', READ_BOX_BYTES),
  }
}

// Vault

/** What a friend's identity was when a chat was last open, and whether safety numbers were compared. */
export interface Pin extends ChainPosition {
  readonly conversation: Bytes
  readonly identityPublic: Bytes
  readonly fingerprint: Bytes
  /** When safety numbers were compared, in milliseconds since 1970; 0 for never. */
  readonly verifiedAt: number
}

/** Whom a link named, before a chat with them was open. */
export interface Expected {
  /** Folded. */
  readonly name: string
  readonly fingerprint: Bytes
}

export interface Preferences {
  /** Whether friends are shown what was read, and what they read is shown here. */
  readonly sharesRead: boolean
}

/** How far a conversation's log was checked, and how far it was read. */
export interface ReadPosition {
  readonly conversation: Bytes
  readonly checkedN: number
  readonly logHash: Bytes
  readonly readN: number
}

export interface AccountKey {
  readonly generation: number
  readonly seed: Bytes
}

export interface DoorPublic {
  readonly kind: DoorKind
  readonly publicKey: Bytes
  /** Made with the password or the code, over the identity that the door was made for. */
  readonly tag: Bytes
}

export interface VaultContent {
  readonly identityPublic: Bytes
  readonly accountKeys: readonly AccountKey[]
  readonly doors: readonly DoorPublic[]
  /** The last position of the person's own key chain that was checked. */
  readonly chain: ChainPosition
  /** Sorted by conversation. */
  readonly pins: readonly Pin[]
  /** Sorted by conversation. */
  readonly positions: readonly ReadPosition[]
  /** Sorted by name. */
  readonly expected: readonly Expected[]
  readonly preferences: Preferences
}

export function encodeVaultContent(content: VaultContent): Bytes {
  return encodeCbor([
    VERSION,
    content.identityPublic,
    content.accountKeys.map((key) => [key.generation, key.seed]),
    content.doors.map((door) => [door.kind, door.publicKey, door.tag]),
    [content.chain.seq, content.chain.head],
    content.pins.map((pin) => [
      pin.conversation,
      pin.identityPublic,
      pin.fingerprint,
      pin.verifiedAt,
      pin.seq,
      pin.head,
    ]),
    content.positions.map((at) => [at.conversation, at.checkedN, at.logHash, at.readN]),
    content.expected.map(({ name, fingerprint }) => [name, fingerprint]),
    [content.preferences.sharesRead ? 1 : 0],
  ])
}

export function decodeVaultContent(bytes: Bytes): VaultContent {
  const at = places(decodeExact(bytes), 9, 'vault')
  exactly(at[0], VERSION, 'version of vault content')
  const content = {
    identityPublic: bytesAt(at[1], 'identity key', KEY_BYTES),
    accountKeys: list(at[2], 'account keys').map(accountKey),
    doors: list(at[3], 'doors').map(doorPublic),
    chain: chainPosition(at[4]),
    pins: list(at[5], 'pins').map(pin),
    positions: list(at[6], 'positions').map(readPosition),
    expected: list(at[7], 'expected').map(expected),
    preferences: preferences(at[8]),
  }
  content.accountKeys.forEach(requireNext)
  requireOrder(content.pins, ({ conversation }) => toHex(conversation))
  requireOrder(content.positions, ({ conversation }) => toHex(conversation))
  requireOrder(content.expected, ({ name }) => name)
  return content
}

function accountKey(place: CborValue): AccountKey {
  const [generation, seed] = places(place, 2, 'account key')
  return { generation: uintAt(generation, 'generation', 1), seed: bytesAt(seed, 'account key', KEY_BYTES) }
}

/** Without a gap from the first on, which is not 1 for who started fresh. */
function requireNext({ generation }: AccountKey, index: number, keys: readonly AccountKey[]): void {
  const before = keys[index - 1]
  if (before !== undefined && generation !== before.generation + 1)
    throw new MalformedData('generation of an account key')
}

function expected(place: CborValue): Expected {
  const [name, fingerprint] = places(place, 2, 'expected')
  return { name: textAt(name, 'name'), fingerprint: bytesAt(fingerprint, 'fingerprint', HASH_BYTES) }
}

function preferences(place: CborValue | undefined): Preferences {
  const [sharesRead] = places(place, 1, 'preferences')
  if (sharesRead !== 0 && sharesRead !== 1) throw new MalformedData('preferences')
  return { sharesRead: sharesRead === 1 }
}

function doorPublic(place: CborValue): DoorPublic {
  const [kind, publicKey, tag] = places(place, 3, 'door')
  return {
    kind: doorKind(kind),
    publicKey: bytesAt(publicKey, 'door key', ACCOUNT_KEY_BYTES),
    tag: bytesAt(tag, 'door tag', HASH_BYTES),
  }
}

/** Also used for the JSON form of a door. */
export function doorKind(value: unknown): DoorKind {
  if (value === 'password' || value === 'recovery') return value
  throw new MalformedData('kind of a door')
}

function pin(place: CborValue): Pin {
  const [conversation, identityPublic, fingerprint, verifiedAt, seq, head] = places(place, 6, 'pin')
  return {
    conversation: bytesAt(conversation, 'conversation', ID_BYTES),
    identityPublic: bytesAt(identityPublic, 'identity key', KEY_BYTES),
    fingerprint: bytesAt(fingerprint, 'fingerprint', HASH_BYTES),
    verifiedAt: uintAt(verifiedAt, 'time of a comparison'),
    ...chainPosition([seq ?? 0, head ?? '']),
  }
}

function readPosition(place: CborValue): ReadPosition {
  const [conversation, checkedN, logHash, readN] = places(place, 4, 'position')
  return {
    conversation: bytesAt(conversation, 'conversation', ID_BYTES),
    checkedN: uintAt(checkedN, 'log position'),
    logHash: bytesAt(logHash, 'log hash', HASH_BYTES),
    readN: uintAt(readN, 'log position'),
  }
}

/** One item for each key, in ascending order. */
function requireOrder<T>(items: readonly T[], keyOf: (item: T) => string): void {
  items.reduce((before, item) => {
    const key = keyOf(item)
    if (key <= before) throw new MalformedData('order in the vault')
    return key
  }, '')
}

export function sameConversation(one: { readonly conversation: Bytes }, conversation: Bytes): boolean {
  return equal(one.conversation, conversation)
}
