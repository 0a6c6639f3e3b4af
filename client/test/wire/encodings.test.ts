import {
  property,
  assert,
  array,
  letrec,
  oneof,
  string,
  uint8Array,
  maxSafeNat,
  nat,
  uuid,
  type Arbitrary,
} from 'fast-check'
import { decode, encode } from 'cborg'
import { describe, expect, it } from 'vitest'

import {
  type Bytes,
  concat,
  equal,
  fromBase64url,
  fromHex,
  MalformedData,
  newClientId,
  newUuid,
  toBase64url,
  toHex,
  uint32,
  uint64,
  uuidFromBytes,
  uuidToBytes,
} from '../../src/wire/bytes'
import { type CborValue, decodeExact, encodeCbor } from '../../src/wire/cbor'
import { load } from '../vectors'

const vectors = load('encodings') as {
  readonly cbor: readonly string[]
  readonly cbor_refused: readonly string[]
  readonly base64url: readonly (readonly [string, string])[]
  readonly base64url_refused: readonly string[]
}

const someBytes = (): Arbitrary<Bytes> => uint8Array({ maxLength: 80 }).map((bytes) => new Uint8Array(bytes))

const { list: someArray } = letrec<{ list: CborValue[]; item: CborValue }>((tie) => ({
  list: array(tie('item'), { maxLength: 6 }),
  item: oneof({ maxDepth: 3 }, maxSafeNat(), string({ unit: 'grapheme' }), someBytes(), tie('list')),
}))

describe('CBOR', () => {
  it('is read and written as the vectors say', () => {
    for (const hex of vectors.cbor) expect(toHex(encodeCbor(decodeExact(fromHex(hex))))).toBe(hex)
  })

  it('is refused in any other spelling', () => {
    for (const hex of vectors.cbor_refused) {
      expect(() => decodeExact(fromHex(hex)), hex).toThrow(MalformedData)
    }
  })

  it('comes back as it was', () => {
    assert(
      property(someArray, (value) => {
        expect(decodeExact(encodeCbor(value))).toEqual(value)
      }),
    )
  })

  it('takes and writes what an independent library takes and writes in the one form', () => {
    assert(
      property(someArray, nat(), nat(255), (value, place, byte) => {
        const bytes = encodeCbor(value)
        expect(bytes).toEqual(new Uint8Array(encode(value)))
        bytes[place % bytes.length] = byte
        expect(decodedOrNull(bytes)).toEqual(decodedByLibrary(bytes))
      }),
      { numRuns: 5_000 },
    )
  })

  it('is refused however deep it claims to go, and however long', () => {
    for (const hex of [
      '81'.repeat(60_000),
      `9affffffff${'00'.repeat(100)}`,
      '9bffffffffffffffff',
      '5affffffff00',
    ])
      expect(() => decodeExact(fromHex(hex)), hex.slice(0, 20)).toThrow(MalformedData)
  })

  it('has one form for whatever is accepted', () => {
    assert(
      property(someBytes(), (bytes) => {
        const accepted = decodedOrNull(bytes)
        if (accepted !== null) expect(encodeCbor(accepted)).toEqual(bytes)
      }),
    )
  })

  it('has one form for whatever is accepted of altered bytes', () => {
    assert(
      property(someArray, maxSafeNat(), (value, place) => {
        const bytes = encodeCbor(value)
        bytes[place % bytes.length] = (bytes[place % bytes.length] ?? 0) ^ (1 << (place % 8))
        const accepted = decodedOrNull(bytes)
        if (accepted !== null) expect(encodeCbor(accepted)).toEqual(bytes)
      }),
      { numRuns: 1000 },
    )
  })
})

function decodedOrNull(bytes: Bytes): readonly CborValue[] | null {
  try {
    return decodeExact(bytes)
  } catch (error) {
    expect(error).toBeInstanceOf(MalformedData)
    return null
  }
}

/** By cborg, which knows all of CBOR, and a look at which parts of it came out. */
function decodedByLibrary(bytes: Bytes): unknown {
  const only = (value: unknown): boolean => {
    if (Array.isArray(value)) return value.every(only)
    if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 && !Object.is(value, -0)
    return typeof value === 'string' || value instanceof Uint8Array
  }
  try {
    const value: unknown = decode(bytes, {
      strict: true,
      allowIndefinite: false,
      allowUndefined: false,
      allowBigInt: false,
      useMaps: true,
    })
    return Array.isArray(value) && only(value) && equal(new Uint8Array(encode(value)), bytes) ? value : null
  } catch {
    return null
  }
}

describe('base64url', () => {
  it('is read and written as the vectors say', () => {
    for (const [hex, text] of vectors.base64url) {
      expect(toHex(fromBase64url(text))).toBe(hex)
      expect(toBase64url(fromHex(hex))).toBe(text)
    }
  })

  it('is refused in any other spelling', () => {
    for (const text of vectors.base64url_refused) {
      expect(() => fromBase64url(text), text).toThrow(MalformedData)
    }
  })

  it('comes back as it was, and as Node writes it', () => {
    assert(
      property(someBytes(), (bytes) => {
        expect(fromBase64url(toBase64url(bytes))).toEqual(bytes)
        expect(toBase64url(bytes)).toBe(Buffer.from(bytes).toString('base64url'))
      }),
    )
  })
})

describe('bytes', () => {
  it('turn into identifiers and back', () => {
    assert(
      property(uuid(), (text) => {
        expect(uuidFromBytes(uuidToBytes(text))).toBe(text)
      }),
    )
    expect(newUuid((length) => new Uint8Array(length).fill(255))).toBe('ffffffff-ffff-4fff-bfff-ffffffffffff')
    const ones = (length: number): Uint8Array<ArrayBuffer> => new Uint8Array(length).fill(255)
    expect(newClientId(258, ones)).toBe('00000000-0102-8fff-bfff-ffffffffffff')
    expect(newClientId(2 ** 53 - 1, ones)).toBe('ffffffff-ffff-8fff-bfff-ffffffffffff')
    for (const text of ['', 'FFFFFFFF-ffff-4fff-bfff-ffffffffffff', 'ffffffffffff4fffbfffffffffffffff']) {
      expect(() => uuidToBytes(text)).toThrow(MalformedData)
    }
  })

  it('are compared to the last one', () => {
    assert(
      property(someBytes(), someBytes(), (one, other) => {
        expect(equal(one, other)).toBe(toHex(one) === toHex(other))
        expect(equal(one, concat(one))).toBe(true)
      }),
    )
  })

  it('hold numbers with the big end first', () => {
    expect(toHex(uint32(0x01020304))).toBe('01020304')
    expect(toHex(uint64(2 ** 40 + 5))).toBe('0000010000000005')
  })
})
