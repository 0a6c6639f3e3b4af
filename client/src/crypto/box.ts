/** AES-256-GCM with a random nonce: `BOX` of the protocol. */
import { type Bytes, concat, type Random } from '../wire/bytes'
import { type CryptoRefusal, refusing } from './errors'

export const NONCE_BYTES = 12

/** A key that cannot be read back out of the browser. */
export function importAesKey(raw: Bytes): Promise<CryptoKey> {
  return crypto.subtle.importKey('raw', raw, 'AES-GCM', false, ['encrypt', 'decrypt'])
}

export async function encrypt(key: CryptoKey, nonce: Bytes, aad: Bytes, plaintext: Bytes): Promise<Bytes> {
  const algorithm = { name: 'AES-GCM', iv: nonce, additionalData: aad }
  return new Uint8Array(await crypto.subtle.encrypt(algorithm, key, plaintext))
}

/** Throws `refusal()` when key, nonce, aad or ciphertext are not those of the encryption. */
export async function decrypt(
  key: CryptoKey,
  sealed: { readonly nonce: Bytes; readonly aad: Bytes; readonly ciphertext: Bytes },
  refusal: () => CryptoRefusal,
): Promise<Bytes> {
  const algorithm = { name: 'AES-GCM', iv: sealed.nonce, additionalData: sealed.aad }
  return refusing(refusal, async () => {
    return new Uint8Array(await crypto.subtle.decrypt(algorithm, key, sealed.ciphertext))
  })
}

export async function sealBox(key: CryptoKey, aad: Bytes, plaintext: Bytes, random: Random): Promise<Bytes> {
  const nonce = random(NONCE_BYTES)
  return concat(nonce, await encrypt(key, nonce, aad, plaintext))
}

export function openBox(
  key: CryptoKey,
  aad: Bytes,
  box: Bytes,
  refusal: () => CryptoRefusal,
): Promise<Bytes> {
  const sealed = { nonce: box.slice(0, NONCE_BYTES), aad, ciphertext: box.slice(NONCE_BYTES) }
  return decrypt(key, sealed, refusal)
}
