/** From a typed password to what is sent and what stays (docs/protocol.md, section 2). The password itself goes nowhere. */
import { type Bytes, toBase64url, toHex, utf8 } from '../wire/bytes'
import { encodeCbor } from '../wire/cbor'
import { doorKey, type DoorKey } from './doors'
import { hash, kdf } from './labels'

/** `name` is the folded name; `clientSalt` the 32 bytes that the server keeps for it. */
export function passwordSalt(of: {
  readonly origin: string
  readonly name: string
  readonly clientSalt: Bytes
}): Promise<Bytes> {
  return hash('salt', encodeCbor([of.origin, of.name, of.clientSalt]))
}

/** UTF-8 of NFKC, so that the same keys on another keyboard give the same bytes. */
export function normalisePassword(password: string): Bytes {
  return utf8(password.normalize('NFKC'))
}

/** What the first version stored, as text in UTF-8; for its accounts this is stretched instead of the password. */
export async function legacyPassword(password: string, legacySalt: string): Promise<Bytes> {
  const digest = await crypto.subtle.digest('SHA-256', utf8(password + legacySalt))
  return utf8(toHex(new Uint8Array(digest)))
}

/** Proves the password to the server: `ak1:` and 43 characters. */
export async function authKey(stretched: Bytes): Promise<string> {
  return `ak1:${toBase64url(await kdf(stretched, 'auth'))}`
}

export function passwordDoor(stretched: Bytes): Promise<DoorKey> {
  return doorKey('password', stretched)
}
