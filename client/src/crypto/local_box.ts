/** What this browser keeps for itself (drafts, messages that wait) is unreadable without a key that cannot leave it. */
import { type Bytes, concat, type Random, utf8 } from '../wire/bytes'
import { importAesKey, openBox, sealBox } from './box'
import { LocalBoxBroken } from './errors'
import { kdf, label } from './labels'

export function createLocalKey(): Promise<CryptoKey> {
  return crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt'])
}

/** One for each browser of a person, the same whenever a password or code is typed in it. */
export async function deriveLocalKey(identitySeed: Bytes, device: Bytes): Promise<CryptoKey> {
  return importAesKey(await kdf(identitySeed, 'local', device))
}

/** `purpose` says what and whose it is; a box opens only for the same. */
export function sealLocal(key: CryptoKey, purpose: string, plaintext: Bytes, random: Random): Promise<Bytes> {
  return sealBox(key, localAad(purpose), plaintext, random)
}

/** Throws `LocalBoxBroken`. */
export function openLocal(key: CryptoKey, purpose: string, box: Bytes): Promise<Bytes> {
  return openBox(key, localAad(purpose), box, () => new LocalBoxBroken())
}

function localAad(purpose: string): Bytes {
  return concat(label('local'), utf8(purpose))
}
