/** What two people compare to know that nobody stands between them. */
import { type Bytes, concat, fromBase64url, MalformedData, toBase64url } from '../wire/bytes'
import { encodeCbor } from '../wire/cbor'
import { hash, label } from './labels'

const ROUNDS = 5200
const GROUPS = 6
const FINGERPRINT_BYTES = 32
const GROUP_BYTES = 5
const DIGITS = 5

/** Names the identity on this server; 32 bytes. */
export function identityFingerprint(origin: string, name: string, identityPublic: Bytes): Promise<Bytes> {
  return hash('identity', encodeCbor([origin, name, identityPublic]))
}

/** For links and QR codes. */
export function fingerprintText(fingerprint: Bytes): string {
  return toBase64url(fingerprint)
}

/** What a link or a code holds, or null for anything else. */
export function parseFingerprint(text: string): Bytes | null {
  try {
    const fingerprint = fromBase64url(text)
    return fingerprint.length === FINGERPRINT_BYTES ? fingerprint : null
  } catch (error) {
    if (error instanceof MalformedData) return null
    throw error
  }
}

const QR_PREFIX = 'securechat:1:'

/** What the QR code of a safety number says (docs/protocol.md, section 10). */
export function qrText(shown: { readonly own: Bytes; readonly peer: Bytes }): string {
  return `${QR_PREFIX}${fingerprintText(shown.own)}:${fingerprintText(shown.peer)}`
}

/** Whoever showed the code, and whom they showed it to; null for another code. */
export function readQrText(text: string): { readonly shower: Bytes; readonly other: Bytes } | null {
  if (!text.startsWith(QR_PREFIX)) return null
  const [shower, other, ...rest] = text.slice(QR_PREFIX.length).split(':').map(parseFingerprint)
  return shower == null || other == null || rest.length > 0 ? null : { shower, other }
}

/**
 * 60 digits, the same for both people: 12 groups of 5, joined by spaces.
 *
 * Each person's half is made as Signal makes its numeric fingerprints: SHA-512 5200 times, which costs whoever looks
 * for a similar one 12 more bits, and 5 digits from each of the first six 5-byte groups. The smaller half comes first.
 */
export async function safetyNumber(own: Bytes, peer: Bytes): Promise<string> {
  const halves = await Promise.all([half(own), half(peer)])
  return halves.sort().join(' ')
}

async function half(fingerprint: Bytes): Promise<string> {
  let digest: Bytes = label('safety-number')
  for (let round = 0; round < ROUNDS; round += 1) {
    digest = new Uint8Array(await crypto.subtle.digest('SHA-512', concat(digest, fingerprint)))
  }
  return Array.from({ length: GROUPS }, (_, group) => digits(digest.subarray(group * GROUP_BYTES))).join(' ')
}

function digits(bytes: Uint8Array): string {
  const value = bytes.subarray(0, GROUP_BYTES).reduce((total, byte) => total * 256 + byte, 0)
  return String(value % 10 ** DIGITS).padStart(DIGITS, '0')
}
