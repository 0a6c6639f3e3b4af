/** Deterministic CBOR (RFC 8949 section 4.2.1) of arrays, unsigned integers, byte strings and text. Nothing else exists. */
import { decode, encode } from 'cborg'

import { type Bytes, equal, MalformedData } from './bytes'

export type CborValue = number | string | Uint8Array | readonly CborValue[]

export function encodeCbor(value: readonly CborValue[]): Bytes {
  return new Uint8Array(encode(value))
}

/** Decodes exactly one array. Bytes that its own encoding would not give again are refused. */
export function decodeExact(bytes: Uint8Array): readonly CborValue[] {
  const value = read(bytes)
  if (!isCborArray(value) || !equal(encode(value), bytes)) throw new MalformedData('CBOR')
  return value
}

function read(bytes: Uint8Array): unknown {
  try {
    return decode(bytes, {
      strict: true,
      allowIndefinite: false,
      allowUndefined: false,
      allowBigInt: false,
      useMaps: true,
    })
  } catch {
    throw new MalformedData('CBOR')
  }
}

function isCborArray(value: unknown): value is readonly CborValue[] {
  return Array.isArray(value) && value.every(isCbor)
}

function isCbor(value: unknown): value is CborValue {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 && !Object.is(value, -0)
  return typeof value === 'string' || value instanceof Uint8Array || isCborArray(value)
}

/** Typed access to the places of a decoded array; each function refuses any other type, length or range. */
export function places(value: CborValue | undefined, count: number, what: string): readonly CborValue[] {
  const items = list(value, what)
  if (items.length !== count) throw new MalformedData(what)
  return items
}

export function list(value: CborValue | undefined, what: string): readonly CborValue[] {
  if (typeof value === 'object' && !(value instanceof Uint8Array)) return value
  throw new MalformedData(what)
}

export function bytesAt(value: CborValue | undefined, what: string, length?: number): Bytes {
  if (value instanceof Uint8Array && (length === undefined || value.length === length))
    return new Uint8Array(value)
  throw new MalformedData(what)
}

export function uintAt(value: CborValue | undefined, what: string, least = 0): number {
  if (typeof value === 'number' && value >= least) return value
  throw new MalformedData(what)
}

export function textAt(value: CborValue | undefined, what: string): string {
  if (typeof value === 'string') return value
  throw new MalformedData(what)
}

/** The fixed number or word at a place: versions, suites. */
export function exactly(value: CborValue | undefined, expected: number | string, what: string): void {
  if (value !== expected) throw new MalformedData(what)
}
