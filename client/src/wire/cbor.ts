/**
 * Deterministic CBOR (RFC 8949 section 4.2.1) of arrays, unsigned integers, byte strings and text. Nothing else exists:
 * a reader of four types has no switch that could be forgotten, and weighs a tenth of a library.
 */
import { type Bytes, concat, fromUtf8, MalformedData, utf8 } from './bytes'

export type CborValue = number | string | Uint8Array | readonly CborValue[]

/** The major types (RFC 8949 section 3.1). */
const UINT = 0
const BYTES = 2
const TEXT = 3
const ARRAY = 4
/** No object of the protocol is nested deeper than 5. */
const MAX_DEPTH = 32
/** The first byte's lower five bits say that the number follows in 1, 2, 4 or 8 bytes. */
const FOLLOWS = 24

export function encodeCbor(value: readonly CborValue[]): Bytes {
  return encoded(value)
}

function encoded(value: CborValue): Bytes {
  if (typeof value === 'number') return head(UINT, value)
  if (typeof value === 'string') return string(TEXT, utf8(value))
  if (value instanceof Uint8Array) return string(BYTES, value)
  return concat(head(ARRAY, value.length), ...value.map(encoded))
}

function string(type: number, bytes: Uint8Array): Bytes {
  return concat(head(type, bytes.length), bytes)
}

/** A type, and a number in as few bytes as there are for it. */
function head(type: number, number: number): Bytes {
  if (!Number.isSafeInteger(number) || number < 0) throw new RangeError('CBOR has no such number here.')
  const first = type << 5
  if (number < FOLLOWS) return Uint8Array.of(first | number)
  const size = sizeOf(number)
  const bytes = new Uint8Array(1 + size)
  bytes[0] = first | (FOLLOWS + Math.log2(size))
  for (let place = size, rest = number; place > 0; place -= 1, rest = Math.floor(rest / 256))
    bytes[place] = rest % 256
  return bytes
}

function sizeOf(number: number): number {
  if (number < 2 ** 8) return 1
  if (number < 2 ** 16) return 2
  return number < 2 ** 32 ? 4 : 8
}

/** Decodes exactly one array. Bytes that `encodeCbor` would not give are refused. */
export function decodeExact(bytes: Uint8Array): readonly CborValue[] {
  const reader = new Reader(bytes)
  const value = reader.value(0)
  if (!isArray(value) || !reader.isAtEnd) throw new MalformedData('CBOR')
  return value
}

function isArray(value: CborValue): value is readonly CborValue[] {
  return typeof value === 'object' && !(value instanceof Uint8Array)
}

class Reader {
  #at = 0

  constructor(private readonly bytes: Uint8Array) {}

  get isAtEnd(): boolean {
    return this.#at === this.bytes.length
  }

  value(depth: number): CborValue {
    const first = this.#byte()
    const number = this.#number(first & 31)
    switch (first >> 5) {
      case UINT:
        return number
      case BYTES:
        return this.#take(number)
      case TEXT:
        return fromUtf8(this.#take(number))
      case ARRAY:
        // Each item takes a byte at least: nothing is made for a length that only claims to be one.
        if (number > this.bytes.length - this.#at || depth === MAX_DEPTH) throw new MalformedData('CBOR')
        return Array.from({ length: number }, () => this.value(depth + 1))
      default:
        throw new MalformedData('CBOR')
    }
  }

  /** Refuses what would have fitted into fewer bytes. */
  #number(info: number): number {
    if (info < FOLLOWS) return info
    if (info > FOLLOWS + 3) throw new MalformedData('CBOR')
    const size = 2 ** (info - FOLLOWS)
    let number = 0
    for (let count = 0; count < size; count += 1) number = number * 256 + this.#byte()
    if (!Number.isSafeInteger(number) || number < FOLLOWS || sizeOf(number) !== size)
      throw new MalformedData('CBOR')
    return number
  }

  #byte(): number {
    const byte = this.bytes[this.#at]
    if (byte === undefined) throw new MalformedData('CBOR')
    this.#at += 1
    return byte
  }

  #take(length: number): Bytes {
    if (length > this.bytes.length - this.#at) throw new MalformedData('CBOR')
    this.#at += length
    return Uint8Array.from(this.bytes.subarray(this.#at - length, this.#at))
  }
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
