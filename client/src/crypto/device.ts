/** A browser's own key. It signs messages, epochs and heads, and does not leave the browser. */
import { type Bytes, type Random } from '../wire/bytes'
import { ed25519, native, type SigningKey } from './ed25519'
import { hash } from './labels'

const ID_BYTES = 16

/** Plain data that IndexedDB can keep as it is. */
export interface Device {
  readonly id: Bytes
  readonly publicKey: Bytes
  readonly key: SigningKey
}

export async function deviceId(publicKey: Bytes): Promise<Bytes> {
  return (await hash('device', publicKey)).slice(0, ID_BYTES)
}

/** A non-extractable key where WebCrypto has Ed25519; elsewhere a seed from `random`. */
export async function createDevice(random: Random): Promise<Device> {
  return (await ed25519()) === native ? createNative() : createFromSeed(random(32))
}

async function createNative(): Promise<Device> {
  const pair = await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify'])
  const publicKey = new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey))
  const key = { kind: 'webcrypto', privateKey: pair.privateKey } as const
  return { id: await deviceId(publicKey), publicKey, key }
}

export async function createFromSeed(seed: Bytes): Promise<Device> {
  const publicKey = await (await ed25519()).publicOf(seed)
  return { id: await deviceId(publicKey), publicKey, key: { kind: 'seed', seed } }
}
