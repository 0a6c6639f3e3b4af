/** Ed25519 for browsers whose WebCrypto has none. Loaded only there, so that nobody else pays for it. */
import { ed25519 } from '@noble/curves/ed25519.js'

import type { Bytes } from '../wire/bytes'
import type { Ed25519 } from './ed25519'

export const noble: Ed25519 = {
  publicOf: (seed) => Promise.resolve(new Uint8Array(ed25519.getPublicKey(seed))),
  signWithSeed: (seed, message) => Promise.resolve(new Uint8Array(ed25519.sign(message, seed))),
  verify: (publicKey, message, signature) => Promise.resolve(isGenuine(publicKey, message, signature)),
}

function isGenuine(publicKey: Bytes, message: Bytes, signature: Bytes): boolean {
  try {
    return ed25519.verify(signature, message, publicKey, { zip215: false })
  } catch {
    return false
  }
}
