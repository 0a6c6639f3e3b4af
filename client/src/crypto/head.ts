/** Signed heads: what a browser says it has checked, the second tick (docs/protocol.md, section 6). */
import { type Bytes, equal } from '../wire/bytes'
import { decodeHead, encodeHead, encodeHeadBody, type HeadBody } from '../wire/objects'
import type { Device } from './device'
import { requireSignature, sign } from './ed25519'
import { HeadInvalid, refusing, WrongConversation } from './errors'
import { devicePublicOf, type VerifiedChain } from './key_chain'
import type { LogPosition } from './log'

export async function createHead(head: {
  readonly conversation: Bytes
  readonly log: LogPosition
  readonly vaultVersion: number
  readonly device: Device
}): Promise<Bytes> {
  const { conversation, log, vaultVersion, device } = head
  const body = encodeHeadBody({ conversation, ...log, vaultVersion, device: device.id })
  return encodeHead(body, await sign(device.key, 'head', body))
}

/** `chain` is that of the person whose head it is. Throws `HeadInvalid`, `WrongConversation` or `UnknownDevice`. */
export async function openHead(
  bytes: Bytes,
  expected: { readonly conversation: Bytes; readonly chain: VerifiedChain },
): Promise<HeadBody> {
  const invalid = (): HeadInvalid => new HeadInvalid()
  const { body, signature, ...head } = await refusing(invalid, () => decodeHead(bytes))
  if (!equal(head.conversation, expected.conversation)) throw new WrongConversation()
  const publicKey = devicePublicOf(expected.chain, head.device)
  await requireSignature({ publicKey, what: 'head', message: body, signature }, invalid)
  return head
}
