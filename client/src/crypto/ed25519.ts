/** Ed25519 (RFC 8032) by WebCrypto, or by `@noble/curves` in a browser that lacks it. */
import { type Bytes, concat, fromBase64url, fromHex } from '../wire/bytes'
import type { CryptoRefusal } from './errors'
import { label, type Label } from './labels'

export interface Ed25519 {
  publicOf(seed: Bytes): Promise<Bytes>
  signWithSeed(seed: Bytes, message: Bytes): Promise<Bytes>
  /** Only `requireSignature` asks; everybody else gets an error instead of an answer that can be forgotten. */
  verify(publicKey: Bytes, message: Bytes, signature: Bytes): Promise<boolean>
}

/** A key that signs. A seed is in memory (or, without WebCrypto's Ed25519, in the database); the other never leaves. */
export type SigningKey =
  | { readonly kind: 'webcrypto'; readonly privateKey: CryptoKey }
  | { readonly kind: 'seed'; readonly seed: Bytes }

/** PKCS #8 around a 32-byte seed (RFC 8410 section 7). */
const PKCS8_PREFIX = fromHex('302e020100300506032b657004220420')

const imported = new WeakMap<Bytes, Promise<CryptoKey>>()

function importPublic(publicKey: Bytes): Promise<CryptoKey> {
  const known = imported.get(publicKey)
  if (known !== undefined) return known
  const key = crypto.subtle.importKey('raw', publicKey, 'Ed25519', true, ['verify'])
  imported.set(publicKey, key)
  return key
}

function importSeed(seed: Bytes): Promise<CryptoKey> {
  return crypto.subtle.importKey('pkcs8', concat(PKCS8_PREFIX, seed), 'Ed25519', true, ['sign'])
}

export const native: Ed25519 = {
  async publicOf(seed) {
    const { x } = await crypto.subtle.exportKey('jwk', await importSeed(seed))
    return fromBase64url(x ?? '')
  },
  async signWithSeed(seed, message) {
    return new Uint8Array(await crypto.subtle.sign('Ed25519', await importSeed(seed), message))
  },
  async verify(publicKey, message, signature) {
    try {
      return await crypto.subtle.verify('Ed25519', await importPublic(publicKey), signature, message)
    } catch {
      return false
    }
  },
}

async function hasNative(): Promise<boolean> {
  try {
    await native.publicOf(new Uint8Array(32))
    return true
  } catch {
    return false
  }
}

let chosen: Promise<Ed25519> | undefined

/** Asks the browser once. */
export function ed25519(): Promise<Ed25519> {
  chosen ??= hasNative().then(async (yes) => (yes ? native : (await import('./ed25519_noble')).noble))
  return chosen
}

/** `SIGN(key, what, x)` of the protocol. */
export async function sign(key: SigningKey, what: Label, message: Uint8Array): Promise<Bytes> {
  const labelled = concat(label(what), message)
  if (key.kind === 'seed') return (await ed25519()).signWithSeed(key.seed, labelled)
  return new Uint8Array(await crypto.subtle.sign('Ed25519', key.privateKey, labelled))
}

export interface Signed {
  readonly publicKey: Bytes
  readonly what: Label
  readonly message: Uint8Array
  readonly signature: Bytes
}

/** Throws `refusal()` unless the signature is the key's over exactly these bytes. */
export async function requireSignature(signed: Signed, refusal: () => CryptoRefusal): Promise<void> {
  const message = concat(label(signed.what), signed.message)
  const genuine = await (await ed25519()).verify(signed.publicKey, message, signed.signature)
  if (!genuine) throw refusal()
}
