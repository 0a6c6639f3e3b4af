/** Signed heads: what a browser says it has checked and read, the second tick and its filling (section 6). */
import { type Bytes, concat, equal, type Random } from '../wire/bytes'
import { encodeCbor } from '../wire/cbor'
import {
  decodeHead,
  decodeReadPosition,
  encodeHead,
  encodeHeadBody,
  encodeReadPosition,
  type HeadBody,
  type Side,
} from '../wire/objects'
import { openBox, sealBox } from './box'
import type { Device } from './device'
import { requireSignature, sign } from './ed25519'
import { requireMaySay } from './ended'
import { deviceKey, type OpenedEpoch } from './epoch'
import { HeadInvalid, refusing, WrongConversation } from './errors'
import { deviceOf, type VerifiedChain } from './key_chain'
import { label } from './labels'
import type { LogPosition } from './log'

/** `readN` is 0 for who does not share it. `epoch` must be one that is open to both people. */
export async function createHead(head: {
  readonly conversation: Bytes
  readonly log: LogPosition
  readonly vaultVersion: number
  readonly device: Device
  readonly epoch: OpenedEpoch
  readonly readN: number
  readonly random: Random
}): Promise<Bytes> {
  const { conversation, log, vaultVersion, device, epoch } = head
  const place = { conversation, ...log, device: device.id }
  const key = await deviceKey(epoch, device.id, 'head/read')
  const read = await sealBox(key, readAad(place), encodeReadPosition(head.readN), head.random)
  const body = encodeHeadBody({ ...place, vaultVersion, epoch: epoch.epoch, read })
  return encodeHead(body, await sign(device.key, 'head', body))
}

function readAad(head: Pick<HeadBody, 'conversation' | 'n' | 'hash' | 'device'>): Bytes {
  return concat(label('head/read'), encodeCbor([head.conversation, head.n, head.hash, head.device]))
}

export interface OpenedHead extends HeadBody {
  /** 0 when it is not shared; null when the epoch is not open, or not known, here. */
  readonly readN: number | null
}

/**
 * `chain` and `side` are of the person whose head it is.
 *
 * Throws `HeadInvalid`, `WrongConversation`, `UnknownDevice` or `DeviceEnded`.
 */
export async function openHead(
  bytes: Bytes,
  expected: {
    readonly conversation: Bytes
    readonly chain: VerifiedChain
    readonly side: Side
    readonly epochs: ReadonlyMap<number, OpenedEpoch>
  },
): Promise<OpenedHead> {
  const invalid = (): HeadInvalid => new HeadInvalid()
  const { body, signature, ...head } = await refusing(invalid, () => decodeHead(bytes))
  if (!equal(head.conversation, expected.conversation)) throw new WrongConversation()
  const device = deviceOf(expected.chain, head.device)
  await requireSignature({ publicKey: device.publicKey, what: 'head', message: body, signature }, invalid)
  requireMaySay(device, { side: expected.side, n: head.n }, expected.epochs)
  return { ...head, readN: await readPosition(head, expected.epochs.get(head.epoch)) }
}

async function readPosition(head: HeadBody, epoch: OpenedEpoch | undefined): Promise<number | null> {
  if (epoch === undefined || epoch.secret === null) return null
  const invalid = (): HeadInvalid => new HeadInvalid()
  const key = await deviceKey(epoch, head.device, 'head/read')
  const opened = await openBox(key, readAad(head), head.read, invalid)
  return refusing(invalid, () => decodeReadPosition(opened))
}
