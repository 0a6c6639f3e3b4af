/**
 * Whatever comes over the wire, a decoder takes it or throws `MalformedData`, and what it takes says the same again.
 *
 * 100,000 cases by default; FUZZ_CASES sets another number. tests/fuzz does the same in Python.
 */
import { type Arbitrary, assert, constantFrom, integer, property, record, uint8Array } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Bytes, concat, equal, MalformedData, toHex } from '../../src/wire/bytes'
import { type CborValue, decodeExact, encodeCbor } from '../../src/wire/cbor'
import { decodeServerFrame } from '../../src/wire/frames'
import {
  decodeChainEntry,
  decodeContent,
  decodeEnvelope,
  decodeEpochRecord,
  decodeHead,
  decodeVaultContent,
  encodeChainBody,
  encodeChainEntry,
  encodeContent,
  encodeEnvelope,
  encodeEpochBody,
  encodeEpochRecord,
  encodeHead,
  encodeHeadBody,
  encodeHeader,
  encodeVaultContent,
} from '../../src/wire/objects'
import { bytes, load } from '../vectors'

const CASES = Number(process.env['FUZZ_CASES'] ?? 100_000)

interface Kind {
  readonly originals: readonly Bytes[]
  /** Reads it, and writes what was read. */
  readonly again: (raw: Bytes) => Bytes
}

const messages = (
  load('envelope') as { messages: readonly { readonly envelope: string; readonly content: string }[] }
).messages

const kinds: Readonly<Record<string, Kind>> = {
  'key-chain entry': {
    originals: (load('key_chain') as { long: { entries: readonly string[] } }).long.entries.map(bytes),
    again: (raw) => {
      const entry = decodeChainEntry(raw)
      return encodeChainEntry(encodeChainBody(entry), entry.signature)
    },
  },
  'epoch record': {
    originals: (load('epoch') as { records: readonly { record: string }[] }).records.map((one) =>
      bytes(one.record),
    ),
    again: (raw) => {
      const record = decodeEpochRecord(raw)
      return encodeEpochRecord(encodeEpochBody(record), record.sealed, record.signature)
    },
  },
  envelope: {
    originals: messages.map(({ envelope }) => bytes(envelope)),
    again: (raw) => {
      const { header, nonce, ciphertext, signature } = decodeEnvelope(raw)
      return encodeEnvelope(encodeHeader(header), nonce, ciphertext, signature)
    },
  },
  'message content': {
    originals: messages.map(({ content }) => bytes(content)),
    again: (raw) => encodeContent(decodeContent(raw)),
  },
  head: {
    originals: [bytes((load('head') as { head: string }).head)],
    again: (raw) => {
      const head = decodeHead(raw)
      return encodeHead(encodeHeadBody(head), head.signature)
    },
  },
  'vault content': {
    originals: [bytes((load('vault') as { content: string }).content)],
    again: (raw) => encodeVaultContent(decodeVaultContent(raw)),
  },
}

const RUNS = Math.ceil(CASES / Object.keys(kinds).length)

const TELLING_BYTES = [
  0, 1, 0x17, 0x18, 0x19, 0x1b, 0x20, 0x40, 0x5f, 0x60, 0x80, 0x9f, 0xa0, 0xc0, 0xf5, 0xfb, 0xff,
]
const TELLING_ITEMS: readonly CborValue[] = [
  0,
  1,
  2,
  255,
  2 ** 32,
  2 ** 53 - 1,
  '',
  '\0',
  new Uint8Array(),
  new Uint8Array(32),
  [],
  [[]],
]

interface Change {
  readonly way: 'bit' | 'byte' | 'cut' | 'double' | 'item' | 'drop'
  readonly place: number
  readonly other: number
  readonly filling: Uint8Array
}

const change: Arbitrary<Change> = record({
  way: constantFrom('bit', 'byte', 'cut', 'double', 'item', 'item', 'item', 'drop'),
  place: integer({ min: 0, max: 2 ** 31 - 1 }),
  other: integer({ min: 0, max: 2 ** 31 - 1 }),
  filling: uint8Array({ maxLength: 4 }),
})

function changed(raw: Bytes, { way, place, other, filling }: Change): Bytes {
  const at = raw.length === 0 ? 0 : place % raw.length
  const copy = new Uint8Array(raw)
  switch (way) {
    case 'bit':
      copy[at] = (copy[at] ?? 0) ^ (1 << (other % 8))
      return copy
    case 'byte':
      copy[at] = TELLING_BYTES[other % TELLING_BYTES.length] ?? 0
      return copy
    case 'cut':
      return concat(raw.slice(0, at), raw.slice(at + 1 + (other % 20)))
    case 'double':
      return concat(raw.slice(0, at), new Uint8Array(filling), raw.slice(Math.max(0, at - (other % 40))))
    default:
      return withOtherItem(raw, place, other, way === 'drop') ?? concat(raw, new Uint8Array(1))
  }
}

/** Stays deterministic CBOR, so that only a check of the item itself can find it. */
function withOtherItem(raw: Bytes, place: number, other: number, drop: boolean): Bytes | null {
  let items: readonly CborValue[]
  try {
    items = decodeExact(raw)
  } catch {
    return null
  }
  if (items.length === 0) return null
  const at = place % items.length
  const rest = Math.floor(place / items.length)
  if (drop) return encodeCbor(items.filter((_, index) => index !== at))
  return encodeCbor(items.map((item, index) => (index === at ? otherItem(item, rest, other) : item)))
}

function otherItem(item: CborValue, place: number, other: number): CborValue {
  const telling = TELLING_ITEMS[other % TELLING_ITEMS.length] ?? 0
  if (Array.isArray(item) && item.length > 0 && other % 3 > 0) {
    const inner = item as readonly CborValue[]
    return inner.map((one, index) =>
      index === place % inner.length ? otherItem(one, place >> 3, other >> 2) : one,
    )
  }
  if (item instanceof Uint8Array && other % 3 > 0)
    return withOtherItem(new Uint8Array(item), place, other >> 2, other % 2 === 0) ?? item.slice(0, -1)
  if (typeof item === 'number' && other % 3 > 0) return item + (other % 2 === 0 || item === 0 ? 1 : -1)
  if (typeof item === 'string' && other % 3 > 0) return `${item}\u202e`
  return telling
}

describe('a changed object is refused as malformed, or says the same again', () => {
  for (const [name, { originals, again }] of Object.entries(kinds)) {
    it(name, { timeout: 120_000 }, () => {
      for (const original of originals) expect(toHex(again(original))).toBe(toHex(original))
      let taken = 0
      assert(
        property(constantFrom(...originals), change, change, (original, first, second) => {
          const raw =
            second.place % 2 === 0 ? changed(original, first) : changed(changed(original, first), second)
          try {
            const written = again(raw)
            taken += 1
            if (!equal(written, raw)) throw new Error(`It says something else again: ${toHex(raw)}`)
          } catch (error) {
            if (!(error instanceof MalformedData)) throw error
          }
        }),
        { numRuns: RUNS },
      )
      // The changes must not be so coarse that no check behind the first is ever reached.
      expect(taken).toBeGreaterThan(RUNS / 100)
    })
  }
})

describe('a changed frame', () => {
  const frames = load('frames') as {
    readonly server: { readonly valid: readonly unknown[] }
  }

  it('is refused as malformed, or taken', { timeout: 60_000 }, () => {
    const texts = frames.server.valid.map((one) => JSON.stringify(one))
    assert(
      property(constantFrom(...texts), change, change, (text, first, second) => {
        const raw = changed(changed(new TextEncoder().encode(text), first), second)
        try {
          decodeServerFrame(new TextDecoder().decode(raw))
        } catch (error) {
          if (!(error instanceof MalformedData)) throw error
        }
      }),
      { numRuns: Math.ceil(RUNS / 4) },
    )
  })
})
