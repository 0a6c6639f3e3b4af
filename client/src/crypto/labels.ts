/** Hashes, tags and derivations, each under a label of its own (docs/protocol.md, section 1). */
import { type Bytes, concat, utf8 } from '../wire/bytes'

export type Label =
  | 'salt'
  | 'auth'
  | 'door/password'
  | 'door/recovery'
  | 'door/vault-key'
  | 'door/identity'
  | 'door/tag'
  | 'recovery/auth'
  | 'device'
  | 'identity'
  | 'safety-number'
  | 'vault'
  | 'local'
  | 'chain'
  | 'chain/entry'
  | 'epoch'
  | 'epoch/body'
  | 'epoch/record'
  | 'epoch/seal'
  | 'epoch/secret'
  | 'message'
  | 'franking'
  | 'envelope'
  | 'log'
  | 'head'
  | 'head/read'

/** `L(what)` of the protocol. */
export function label(what: Label): Bytes {
  return utf8(`securechat/v1/${what}\0`)
}

/** `H(what, x…)`: SHA-256, 32 bytes. */
export async function hash(what: Label, ...parts: readonly Uint8Array[]): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', concat(label(what), ...parts)))
}

/** `MAC(key, what, x…)`: HMAC-SHA256, 32 bytes. */
export async function mac(key: Bytes, what: Label, ...parts: readonly Uint8Array[]): Promise<Bytes> {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const imported = await crypto.subtle.importKey('raw', key, algorithm, false, ['sign'])
  return new Uint8Array(await crypto.subtle.sign('HMAC', imported, concat(label(what), ...parts)))
}

/** `KDF(secret, what, context)`: HKDF-SHA256 with an empty salt, 32 bytes. */
export async function kdf(secret: Bytes, what: Label, context: Bytes = new Uint8Array()): Promise<Bytes> {
  const imported = await crypto.subtle.importKey('raw', secret, 'HKDF', false, ['deriveBits'])
  const info = concat(label(what), context)
  const algorithm = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(), info }
  return new Uint8Array(await crypto.subtle.deriveBits(algorithm, imported, 256))
}
