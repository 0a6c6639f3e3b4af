import { assert, constantFrom, integer, property, record, uniqueArray } from 'fast-check'
import { describe, expect, it } from 'vitest'

import { LogMismatch } from '../../src/crypto/errors'
import {
  mergeVaults,
  pinOf,
  positionOf,
  type VaultContent,
  withChainPosition,
  withPin,
  withPosition,
} from '../../src/crypto/vault'
import { decodeVaultContent, encodeVaultContent, type Pin, type ReadPosition } from '../../src/wire/objects'

const filled = (length: number, value: number): Uint8Array<ArrayBuffer> => new Uint8Array(length).fill(value)

const EMPTY: VaultContent = {
  identityPublic: filled(32, 1),
  accountKeys: [{ generation: 1, seed: filled(32, 2) }],
  doors: [],
  chain: { seq: 2, head: filled(32, 3) },
  pins: [],
  positions: [],
}

function pin(conversation: number, changes: Partial<Pin> = {}): Pin {
  return {
    conversation: filled(16, conversation),
    identityPublic: filled(32, 5),
    fingerprint: filled(32, 6),
    verified: false,
    seq: 2,
    head: filled(32, 7),
    ...changes,
  }
}

function position(
  conversation: number,
  checkedN: number,
  readN = 0,
  logHash = filled(32, checkedN),
): ReadPosition {
  return { conversation: filled(16, conversation), checkedN, logHash, readN }
}

describe('a vault', () => {
  it('keeps one pin and one position for each conversation, in order', () => {
    const content = [9, 3, 9, 200].reduce(
      (vault, id) => withPosition(withPin(vault, pin(id)), position(id, id)),
      EMPTY,
    )

    expect(content.pins.map(({ conversation }) => conversation[0])).toEqual([3, 9, 200])
    expect(positionOf(content, filled(16, 9))?.checkedN).toBe(9)
    expect(pinOf(content, filled(16, 4))).toBeUndefined()
    expect(decodeVaultContent(encodeVaultContent(content))).toEqual(content)
    expect(EMPTY.pins).toEqual([])
  })

  it('is refused when pins are out of order or double', () => {
    for (const pins of [
      [pin(9), pin(3)],
      [pin(3), pin(3)],
    ]) {
      expect(() => decodeVaultContent(encodeVaultContent({ ...EMPTY, pins }))).toThrow()
    }
  })
})

describe('merging two vaults', () => {
  it('keeps what either added', () => {
    const mine = withPin(EMPTY, pin(1))
    const theirs = withPosition(withPin(EMPTY, pin(2)), position(2, 5))

    const merged = mergeVaults({ base: EMPTY, mine, theirs })

    expect(merged.pins).toEqual([pin(1), pin(2)])
    expect(merged.positions).toEqual([position(2, 5)])
  })

  it('keeps a comparison that either made, or took back', () => {
    const plain = withPin(EMPTY, pin(1))
    const verified = withPin(EMPTY, pin(1, { verified: true }))

    expect(mergeVaults({ base: plain, mine: verified, theirs: plain })).toEqual(verified)
    expect(mergeVaults({ base: plain, mine: plain, theirs: verified })).toEqual(verified)
    expect(mergeVaults({ base: verified, mine: plain, theirs: verified })).toEqual(plain)
  })

  it('takes the later place of a chain, whoever saw it', () => {
    const later = pin(1, { seq: 8, head: filled(32, 8) })
    const base = withPin(EMPTY, pin(1))
    const mine = withPin(base, pin(1, { verified: true }))

    const merged = mergeVaults({ base, mine, theirs: withPin(base, later) })

    expect(merged.pins).toEqual([{ ...later, verified: true }])
    const ahead = withChainPosition(EMPTY, { seq: 4, head: filled(32, 4) })
    expect(mergeVaults({ base: EMPTY, mine: ahead, theirs: EMPTY }).chain.seq).toBe(4)
    expect(mergeVaults({ base: EMPTY, mine: EMPTY, theirs: ahead }).chain.seq).toBe(4)
  })

  it('takes the identity that was accepted here over the one that was before', () => {
    const base = withPin(EMPTY, pin(1))
    const changed = withPin(EMPTY, pin(1, { identityPublic: filled(32, 50) }))

    expect(mergeVaults({ base, mine: changed, theirs: base })).toEqual(changed)
    expect(mergeVaults({ base, mine: base, theirs: changed })).toEqual(changed)
  })

  it('moves positions only forward', () => {
    const somePositions = uniqueArray(
      record({
        id: constantFrom(1, 2, 3),
        n: integer({ min: 0, max: 255 }),
        read: integer({ min: 0, max: 255 }),
      }),
      { selector: ({ id }) => id },
    ).map((items) =>
      items.reduce((vault, { id, n, read }) => withPosition(vault, position(id, n, read)), EMPTY),
    )

    assert(
      property(somePositions, somePositions, (mine, theirs) => {
        const merged = mergeVaults({ base: EMPTY, mine, theirs })
        for (const before of [...mine.positions, ...theirs.positions]) {
          const after = positionOf(merged, before.conversation)
          expect(after?.checkedN).toBeGreaterThanOrEqual(before.checkedN)
          expect(after?.readN).toBeGreaterThanOrEqual(before.readN)
        }
      }),
    )
  })

  it('shows that the two browsers were given different logs', () => {
    const mine = withPosition(EMPTY, position(1, 5))
    const theirs = withPosition(EMPTY, position(1, 5, 0, filled(32, 99)))

    expect(() => mergeVaults({ base: EMPTY, mine, theirs })).toThrow(LogMismatch)
  })
})
