/** The recovery code: 160 random bits as 8 groups of 4 characters in Crockford's base32. */
import type { Bytes, Random } from '../wire/bytes'
import { doorKey, type DoorKey } from './doors'
import { RecoveryCodeMalformed } from './errors'
import { kdf } from './labels'

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const CODE_BYTES = 20
const CODE_CHARACTERS = 32
const BITS = 5

export function newRecoveryCode(random: Random): Bytes {
  return random(CODE_BYTES)
}

/** Eight groups of four characters, joined by dashes. */
export function formatRecoveryCode(code: Bytes): string {
  let bits = Array.from(code, (byte) => byte.toString(2).padStart(8, '0')).join('')
  let characters = ''
  for (; bits.length > 0; bits = bits.slice(BITS)) {
    characters += ALPHABET.charAt(Number.parseInt(bits.slice(0, BITS), 2))
  }
  return (characters.match(/.{4}/g) ?? []).join('-')
}

/** Takes either case, any spaces and dashes, `O` for 0, `I` and `L` for 1. Throws `RecoveryCodeMalformed`. */
export function parseRecoveryCode(typed: string): Bytes {
  const characters = typed.replace(/[\s-]/g, '').toUpperCase().replaceAll('O', '0').replace(/[IL]/g, '1')
  const values = Array.from(characters, (character) => ALPHABET.indexOf(character))
  if (values.length !== CODE_CHARACTERS || values.includes(-1)) throw new RecoveryCodeMalformed()
  const bits = values.map((value) => value.toString(2).padStart(BITS, '0')).join('')
  return Uint8Array.from(bits.match(/.{8}/g) ?? [], (byte) => Number.parseInt(byte, 2))
}

/** 32 bytes that prove the code to the server without showing it. */
export function recoveryProof(code: Bytes): Promise<Bytes> {
  return kdf(code, 'recovery/auth')
}

/** What the server keeps to check the proof. */
export async function recoveryHash(code: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', await recoveryProof(code)))
}

export function recoveryDoor(code: Bytes): Promise<DoorKey> {
  return doorKey('recovery', code)
}
