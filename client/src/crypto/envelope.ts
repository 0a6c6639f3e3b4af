/** Envelopes: one message, sealed, committed to, linked and signed (docs/protocol.md, section 6). */
import { type Bytes, concat, equal, MalformedData, type Random, uint32 } from '../wire/bytes'
import {
  decodeContent,
  decodeEnvelope,
  encodeContent,
  encodeEnvelope,
  encodeEnvelopeSigned,
  encodeHeader,
  type Envelope,
  type EnvelopeHeader,
  type MessageContent,
  type Side,
} from '../wire/objects'
import { decrypt, encrypt, NONCE_BYTES } from './box'
import type { Device } from './device'
import { requireSignature, sign } from './ed25519'
import { deviceKey, type OpenedEpoch } from './epoch'
import {
  AlteredMessage,
  CommitmentMismatch,
  LogMismatch,
  PaddingInvalid,
  UnknownContent,
  UnknownEpoch,
  WrongClientId,
  WrongConversation,
  WrongEpoch,
} from './errors'
import { requireMaySay } from './ended'
import { type Chains, checkChainPosition, deviceOf, otherSide, positionOfChain } from './key_chain'
import { mac } from './labels'
import { checkLogHash, envelopeHash, type LogPosition } from './log'
import type { WriterState } from './writer_chain'

export { envelopeHash } from './log'

const FRANKING_KEY_BYTES = 32
const LENGTH_BYTES = 4
const PREFIX_BYTES = FRANKING_KEY_BYTES + LENGTH_BYTES

/**
 * The length that a content of `length` bytes is padded to: at most 12 % more.
 *
 * Source: Padmé, Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs".
 */
export function padme(length: number): number {
  if (length <= 1) return length
  const exponent = floorLog2(length)
  const step = 2 ** (exponent - (floorLog2(exponent) + 1))
  return step <= 1 ? length : Math.ceil(length / step) * step
}

/** For 0, as for 1, it is 0. */
function floorLog2(value: number): number {
  return value === 0 ? 0 : 31 - Math.clz32(value)
}

export interface NewEnvelope {
  readonly epoch: OpenedEpoch
  /** One's own. */
  readonly side: Side
  readonly chains: Chains
  readonly device: Device
  readonly clientId: Bytes
  readonly writer: WriterState
  /** The last position of the log that was checked here. */
  readonly log: LogPosition
  readonly vaultVersion: number
  readonly content: MessageContent
  readonly random: Random
}

export interface SealedEnvelope {
  readonly envelope: Bytes
  readonly hash: Bytes
  readonly header: EnvelopeHeader
  /** For the next one. */
  readonly writer: WriterState
}

export async function sealEnvelope(message: NewEnvelope): Promise<SealedEnvelope> {
  const frankingKey = message.random(FRANKING_KEY_BYTES)
  const nonce = message.random(NONCE_BYTES)
  const content = encodeContent(message.content)
  const header = await makeHeader(message, frankingKey, content)
  const headerBytes = encodeHeader(header)
  const key = await deviceKey(message.epoch, message.device.id, 'message')
  const ciphertext = await encrypt(key, nonce, headerBytes, pad(frankingKey, content))
  const signed = encodeEnvelopeSigned(headerBytes, nonce, ciphertext)
  const signature = await sign(message.device.key, 'envelope', signed)
  const envelope = encodeEnvelope(headerBytes, nonce, ciphertext, signature)
  const hash = await envelopeHash(envelope)
  return { envelope, hash, header, writer: { writer: header.writer, seq: header.seq, prev: hash } }
}

async function makeHeader(message: NewEnvelope, frankingKey: Bytes, content: Bytes): Promise<EnvelopeHeader> {
  const { epoch, device, clientId, writer, log } = message
  const bound = { conversation: epoch.conversation, device: device.id, clientId }
  return {
    ...bound,
    epoch: epoch.epoch,
    epochHash: epoch.hash,
    writer: writer.writer,
    seq: writer.seq + 1,
    prev: writer.prev,
    headN: log.n,
    headHash: log.hash,
    own: positionOfChain(message.chains[message.side]),
    peer: positionOfChain(message.chains[otherSide(message.side)]),
    vaultVersion: message.vaultVersion,
    commitment: await commitmentTo(bound, frankingKey, content),
  }
}

/** Binds conversation, device, client id and content, so that what was received can be proved to a moderator. */
export function commitmentTo(
  bound: Pick<EnvelopeHeader, 'conversation' | 'device' | 'clientId'>,
  frankingKey: Bytes,
  content: Bytes,
): Promise<Bytes> {
  return mac(frankingKey, 'franking', bound.conversation, bound.device, bound.clientId, content)
}

function pad(frankingKey: Bytes, content: Bytes): Bytes {
  const zeros = new Uint8Array(padme(content.length) - content.length)
  return concat(frankingKey, uint32(content.length), content, zeros)
}

function unpad(plaintext: Bytes): { readonly frankingKey: Bytes; readonly contentBytes: Bytes } {
  if (plaintext.length < PREFIX_BYTES) throw new PaddingInvalid()
  const length = new DataView(plaintext.buffer).getUint32(FRANKING_KEY_BYTES)
  const end = PREFIX_BYTES + length
  if (plaintext.length !== PREFIX_BYTES + padme(length)) throw new PaddingInvalid()
  if (plaintext.subarray(end).some((byte) => byte !== 0)) throw new PaddingInvalid()
  return {
    frankingKey: plaintext.slice(0, FRANKING_KEY_BYTES),
    contentBytes: plaintext.slice(PREFIX_BYTES, end),
  }
}

export interface EnvelopeContext {
  readonly conversation: Bytes
  /** Of the sender, as the server says. */
  readonly side: Side
  /** As the server says. */
  readonly clientId: Bytes
  readonly epochs: ReadonlyMap<number, OpenedEpoch>
  readonly chains: Chains
  /** The number that the server gave it: its sender cannot have checked the log that far. */
  readonly n?: number
  /** The hashes of the log that were checked here. */
  readonly knownHash?: (n: number) => Bytes | undefined
}

export interface OpenedEnvelope {
  readonly header: EnvelopeHeader
  readonly content: MessageContent
  readonly hash: Bytes
  /** As the sender encoded it. With the key it proves what was sent, and both are disclosed only with a report. */
  readonly contentBytes: Bytes
  readonly frankingKey: Bytes
}

/**
 * Checks everything about one envelope but its place in the log and in its writer's thread, and opens it.
 *
 * Throws `AlteredMessage`, `WrongConversation`, `WrongClientId`, `UnknownDevice`, `DeviceEnded`, `UnknownEpoch`,
 * `WrongEpoch`, `ChainBehind`, `ChainForked`, `LogMismatch`, `PaddingInvalid`, `CommitmentMismatch` or
 * `UnknownContent`, and `HistoryLost` for a genuine one that this account cannot read any more. After
 * `UnknownDevice` and `ChainBehind` a newer key chain can change the answer, after `UnknownEpoch` the next epochs.
 */
export async function openEnvelope(bytes: Bytes, context: EnvelopeContext): Promise<OpenedEnvelope> {
  const envelope = decode(bytes)
  const { header } = envelope
  if (!equal(header.conversation, context.conversation)) throw new WrongConversation()
  if (!equal(header.clientId, context.clientId)) throw new WrongClientId()
  await requireSender(envelope, context)
  const epoch = epochOf(header, context)
  checkChainPosition(context.chains[context.side], header.own)
  checkChainPosition(context.chains[otherSide(context.side)], header.peer)
  requireLogHead(header, context)
  const { frankingKey, contentBytes } = unpad(await decryptWith(epoch, envelope))
  const commitment = await commitmentTo(header, frankingKey, contentBytes)
  if (!equal(commitment, header.commitment)) throw new CommitmentMismatch()
  const hash = await envelopeHash(bytes)
  return { header, content: readContent(contentBytes), hash, contentBytes, frankingKey }
}

function decode(envelope: Bytes): Envelope {
  try {
    return decodeEnvelope(envelope)
  } catch (error) {
    throw error instanceof MalformedData ? new AlteredMessage() : error
  }
}

async function requireSender(
  envelope: Envelope,
  { chains, side, n, epochs }: EnvelopeContext,
): Promise<void> {
  const { header, signed: message, signature } = envelope
  const device = deviceOf(chains[side], header.device)
  const { publicKey } = device
  await requireSignature({ publicKey, what: 'envelope', message, signature }, () => new AlteredMessage())
  requireMaySay(device, { side, n: n ?? 0, epoch: header.epoch }, epochs)
}

function epochOf(header: EnvelopeHeader, { epochs }: EnvelopeContext): OpenedEpoch {
  const epoch = epochs.get(header.epoch)
  if (epoch === undefined) throw new UnknownEpoch()
  if (!equal(epoch.hash, header.epochHash) || !equal(epoch.conversation, header.conversation)) {
    throw new WrongEpoch()
  }
  return epoch
}

function requireLogHead(header: EnvelopeHeader, { n, knownHash }: EnvelopeContext): void {
  if (n !== undefined && header.headN >= n) throw new LogMismatch()
  checkLogHash({ n: header.headN, hash: header.headHash }, knownHash?.(header.headN))
}

async function decryptWith(epoch: OpenedEpoch, envelope: Envelope): Promise<Bytes> {
  const key = await deviceKey(epoch, envelope.header.device, 'message')
  const { nonce, ciphertext, headerBytes: aad } = envelope
  return decrypt(key, { nonce, aad, ciphertext }, () => new AlteredMessage())
}

function readContent(bytes: Bytes): MessageContent {
  try {
    return decodeContent(bytes)
  } catch (error) {
    throw error instanceof MalformedData ? new UnknownContent() : error
  }
}
