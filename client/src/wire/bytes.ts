import { MalformedData } from './malformed'

export { MalformedData } from './malformed'

/** Bytes with a buffer of their own, as WebCrypto wants them. */
export type Bytes = Uint8Array<ArrayBuffer>

/** `length` random bytes. Passed in wherever randomness is used, so that a test can choose it. */
export type Random = (length: number) => Bytes

export const systemRandom: Random = (length) => crypto.getRandomValues(new Uint8Array(length))

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const VALUE_OF = new Map(Array.from(ALPHABET, (character, value) => [character, value]))
const UUID_FORM = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** RFC 4648 section 5, without padding. */
export function toBase64url(bytes: Uint8Array): string {
  const characters: string[] = []
  for (let at = 0; at < bytes.length; at += 3) {
    const group = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0)
    const count = Math.min(3, bytes.length - at) + 1
    for (let place = 0; place < count; place += 1) {
      characters.push(ALPHABET.charAt((group >>> (18 - 6 * place)) & 63))
    }
  }
  return characters.join('')
}

/** Refuses padding, foreign characters, impossible lengths and unused bits that are not zero. */
export function fromBase64url(text: string): Bytes {
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4))
  let held = 0
  let heldBits = 0
  let at = 0
  for (const character of text) {
    const value = VALUE_OF.get(character)
    if (value === undefined) throw new MalformedData('base64url')
    held = ((held << 6) | value) & 0xffff
    heldBits += 6
    if (heldBits >= 8) {
      heldBits -= 8
      bytes[at] = (held >>> heldBits) & 255
      at += 1
    }
  }
  if (text.length % 4 === 1 || (held & ((1 << heldBits) - 1)) !== 0) throw new MalformedData('base64url')
  return bytes
}

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Lower case only. */
export function fromHex(text: string): Bytes {
  if (!/^(?:[0-9a-f]{2})*$/.test(text)) throw new MalformedData('hexadecimal')
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
}

/** Looks at every byte whatever the first difference, so that its time says nothing. */
export function equal(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false
  let difference = 0
  for (let at = 0; at < one.length; at += 1) difference |= (one[at] ?? 0) ^ (other[at] ?? 0)
  return difference === 0
}

export function concat(...parts: readonly Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((total, part) => total + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

export function utf8(text: string): Bytes {
  return encoder.encode(text)
}

/** Refuses bytes that are not UTF-8 instead of putting replacement characters there. */
export function fromUtf8(bytes: Bytes): string {
  try {
    return decoder.decode(bytes)
  } catch {
    throw new MalformedData('UTF-8')
  }
}

export function isUuid(text: string): boolean {
  return UUID_FORM.test(text)
}

/** From the canonical text form (lower case, dashes) only. */
export function uuidToBytes(text: string): Bytes {
  if (!isUuid(text)) throw new MalformedData('identifier')
  return fromHex(text.replaceAll('-', ''))
}

export function uuidFromBytes(bytes: Uint8Array): string {
  if (bytes.length !== 16) throw new MalformedData('identifier')
  const hex = toHex(bytes)
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

/** A random (version 4) UUID. */
export function newUuid(random: Random): string {
  return versioned(random(16), 0x40)
}

/** A UUID (version 8, RFC 9562 section 5.8) of 48 bits of `n`, and else random: the ids of a conversation ascend with its log. */
export function newClientId(n: number, random: Random): string {
  const bytes = random(16)
  bytes.set(uint64(n).subarray(2))
  return versioned(bytes, 0x80)
}

function versioned(bytes: Uint8Array, version: number): string {
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | version
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  return uuidFromBytes(bytes)
}

/** Big-endian, 4 bytes. */
export function uint32(value: number): Bytes {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value)
  return bytes
}

/** Big-endian, 8 bytes. */
export function uint64(value: number): Bytes {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value))
  return bytes
}
