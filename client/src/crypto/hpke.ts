/** HPKE base mode with X-Wing, HKDF-SHA256 and AES-256-GCM: `SEAL` of the protocol. A private key is a 32-byte seed. */
import { Aes256Gcm, CipherSuite, HkdfSha256 } from '@hpke/core'
import { XWing } from '@hpke/hybridkem-x-wing'

import { type Bytes, concat } from '../wire/bytes'
import { type CryptoRefusal, refusing } from './errors'
import { label, type Label } from './labels'

const ENC_BYTES = 1120

const kem = new XWing()
const suite = new CipherSuite({ kem, kdf: new HkdfSha256(), aead: new Aes256Gcm() })

export interface Sealing {
  readonly publicKey: Bytes
  readonly what: Label
  readonly context: Bytes
  /** 64 bytes instead of the library's own randomness, so that a golden vector can be made again. */
  readonly unsafeRandomnessForTests?: Bytes
}

export async function publicOfSeed(seed: Bytes): Promise<Bytes> {
  const { publicKey } = await kem.generateKeyPairDerand(seed)
  return new Uint8Array(await kem.serializePublicKey(publicKey))
}

export async function seal(to: Sealing, plaintext: Bytes): Promise<Bytes> {
  const recipientPublicKey = await kem.deserializePublicKey(to.publicKey)
  const info = concat(label(to.what), to.context)
  const ekm = to.unsafeRandomnessForTests
  const parameters = { recipientPublicKey, info, ...(ekm === undefined ? {} : { ekm }) }
  const { enc, ct } = await suite.seal(parameters, plaintext)
  return concat(new Uint8Array(enc), new Uint8Array(ct))
}

export interface Opening {
  readonly seed: Bytes
  readonly what: Label
  readonly context: Bytes
}

/** Throws `refusal()` when it was sealed to another key, for another purpose or context, or was changed. */
export async function open(by: Opening, sealed: Bytes, refusal: () => CryptoRefusal): Promise<Bytes> {
  return refusing(refusal, async () => {
    const recipientKey = await kem.deserializePrivateKey(by.seed)
    const info = concat(label(by.what), by.context)
    const enc = sealed.slice(0, ENC_BYTES)
    return new Uint8Array(await suite.open({ recipientKey, enc, info }, sealed.slice(ENC_BYTES)))
  })
}
