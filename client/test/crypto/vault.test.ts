import {
  type Arbitrary,
  assert,
  boolean,
  constantFrom,
  integer,
  property,
  record,
  subarray,
  uniqueArray,
} from 'fast-check'
import { describe, expect, it } from 'vitest'

import { ChainForked, LogMismatch } from '../../src/crypto/errors'
import {
  EMPTY_VAULT,
  expectedOf,
  mergeVaults,
  pinOf,
  positionOf,
  type VaultContent,
  withChainPosition,
  withExpected,
  withPin,
  withPosition,
  withPreferences,
} from '../../src/crypto/vault'
import { equal } from '../../src/wire/bytes'
import { decodeVaultContent, encodeVaultContent, type Pin, type ReadPosition } from '../../src/wire/objects'

const filled = (length: number, value: number): Uint8Array<ArrayBuffer> => new Uint8Array(length).fill(value)

const EMPTY: VaultContent = {
  identityPublic: filled(32, 1),
  accountKeys: [{ generation: 1, seed: filled(32, 2) }],
  doors: [],
  chain: { seq: 2, head: filled(32, 3) },
  ...EMPTY_VAULT,
}

function pin(conversation: number, changes: Partial<Pin> = {}): Pin {
  return {
    conversation: filled(16, conversation),
    identityPublic: filled(32, 5),
    fingerprint: filled(32, 6),
    verifiedAt: 0,
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
    const verified = withPin(EMPTY, pin(1, { verifiedAt: 5 }))

    expect(mergeVaults({ base: plain, mine: verified, theirs: plain })).toEqual(verified)
    expect(mergeVaults({ base: plain, mine: plain, theirs: verified })).toEqual(verified)
    expect(mergeVaults({ base: verified, mine: plain, theirs: verified })).toEqual(plain)
  })

  it('takes the later place of a chain, whoever saw it', () => {
    const later = pin(1, { seq: 8, head: filled(32, 8) })
    const base = withPin(EMPTY, pin(1))
    const mine = withPin(base, pin(1, { verifiedAt: 5 }))

    const merged = mergeVaults({ base, mine, theirs: withPin(base, later) })

    expect(merged.pins).toEqual([{ ...later, verifiedAt: 5 }])
    const ahead = withChainPosition(EMPTY, { seq: 4, head: filled(32, 4) })
    expect(mergeVaults({ base: EMPTY, mine: ahead, theirs: EMPTY }).chain.seq).toBe(4)
    expect(mergeVaults({ base: EMPTY, mine: EMPTY, theirs: ahead }).chain.seq).toBe(4)
  })

  it('takes the identity that was accepted here over the one that was before', () => {
    const base = withPin(EMPTY, pin(1))
    const changed = withPin(EMPTY, pin(1, { identityPublic: filled(32, 50), seq: 3, head: filled(32, 8) }))

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

  it('never keeps a comparison for another identity, whoever made it', () => {
    const verified = withPin(EMPTY, pin(1, { verifiedAt: 5 }))
    const changed = withPin(EMPTY, pin(1, { identityPublic: filled(32, 50), seq: 3 }))
    const compared = withPin(EMPTY, pin(1, { verifiedAt: 9, seq: 2 }))

    expect(mergeVaults({ base: verified, mine: compared, theirs: changed })).toEqual(changed)
    expect(mergeVaults({ base: verified, mine: changed, theirs: compared })).toEqual(changed)
    expect(mergeVaults({ base: EMPTY, mine: verified, theirs: changed })).toEqual(changed)
  })

  it('keeps the later of two comparisons, and none when one of the two was taken back', () => {
    const [base, early, late, none] = [5, 7, 9, 0].map((verifiedAt) => withPin(EMPTY, pin(1, { verifiedAt })))
    if (!base || !early || !late || !none) throw new Error('There are four.')

    expect(mergeVaults({ base, mine: early, theirs: late })).toEqual(late)
    expect(mergeVaults({ base, mine: none, theirs: late })).toEqual(none)
    expect(mergeVaults({ base: none, mine: early, theirs: late })).toEqual(late)
  })

  it('joins the names of links and the account keys', () => {
    const key = (generation: number) => ({ generation, seed: filled(32, generation) })
    const base = withExpected(
      { ...EMPTY, accountKeys: [key(1)] },
      { name: 'bob', fingerprint: filled(32, 1) },
    )
    const mine = withExpected(base, { name: 'carol', fingerprint: filled(32, 2) })
    const theirs = withExpected(
      { ...base, accountKeys: [key(1), key(2)] },
      { name: 'bob', fingerprint: filled(32, 3) },
    )

    const merged = mergeVaults({ base, mine, theirs })

    expect(merged.accountKeys).toEqual([key(1), key(2)])
    expect(mergeVaults({ base, mine: theirs, theirs: mine }).accountKeys).toEqual([key(1), key(2)])
    expect(expectedOf(merged, 'bob')?.fingerprint).toEqual(filled(32, 3))
    expect(expectedOf(mergeVaults({ base, mine: theirs, theirs: mine }), 'bob')).toEqual(
      expectedOf(theirs, 'bob'),
    )
    expect(merged.expected.map(({ name }) => name)).toEqual(['bob', 'carol'])
  })

  it('shows that the two browsers were given different logs', () => {
    const mine = withPosition(EMPTY, position(1, 5))
    const theirs = withPosition(EMPTY, position(1, 5, 0, filled(32, 99)))

    expect(() => mergeVaults({ base: EMPTY, mine, theirs })).toThrow(LogMismatch)
  })

  it('shows that the two browsers were given different key chains', () => {
    const other = filled(32, 99)
    const contradictions = [
      [withPin(EMPTY, pin(1)), withPin(EMPTY, pin(1, { head: other }))],
      [EMPTY, withChainPosition(EMPTY, { seq: 2, head: other })],
    ] as const

    for (const [mine, theirs] of contradictions) {
      expect(() => mergeVaults({ base: EMPTY, mine, theirs })).toThrow(ChainForked)
    }
  })

  it('lets no comparison give way to another identity on another chain', () => {
    const base = withPin(EMPTY, pin(1))
    const compared = withPin(EMPTY, pin(1, { verifiedAt: 5, seq: 9, head: filled(32, 9) }))
    const stranger = { identityPublic: filled(32, 50), head: filled(32, 50) }
    const beside = withPin(EMPTY, pin(1, { ...stranger, seq: 9 }))
    const before = withPin(EMPTY, pin(1, { ...stranger, seq: 5 }))

    for (const [mine, theirs] of [
      [compared, beside],
      [compared, before],
    ] as const) {
      expect(() => mergeVaults({ base, mine, theirs })).toThrow(ChainForked)
      expect(() => mergeVaults({ base, mine: theirs, theirs: mine })).toThrow(ChainForked)
    }
    expect(() => mergeVaults({ base: EMPTY, mine: compared, theirs: beside })).toThrow(ChainForked)
  })
})

/** One history that browsers see more or less of: the identity at each place of a chain, and the hash there. */
const IDENTITY_FROM = [1, 20, 40]

function identityAt(seq: number): number {
  return IDENTITY_FROM.findLastIndex((from) => from <= seq) + 1
}

const somePin: Arbitrary<Pin> = record({
  id: constantFrom(1, 2, 3),
  seq: integer({ min: 1, max: 60 }),
  verifiedAt: constantFrom(0, 0, 5, 6, 7),
}).map(({ id, seq, verifiedAt }) =>
  pin(id, {
    identityPublic: filled(32, identityAt(seq)),
    fingerprint: filled(32, identityAt(seq)),
    verifiedAt,
    seq,
    head: filled(32, seq),
  }),
)

const somePosition = record({
  id: constantFrom(1, 2, 3),
  n: integer({ min: 0, max: 255 }),
  read: integer({ min: 0, max: 255 }),
}).map(({ id, n, read }) => position(id, n, read))

interface Changes {
  readonly pins: readonly Pin[]
  readonly positions: readonly ReadPosition[]
  readonly expected: readonly string[]
  readonly rotations: number
  readonly chainSeq: number
  readonly sharesRead: boolean
}

const someChanges: Arbitrary<Changes> = record({
  pins: uniqueArray(somePin, { selector: (one) => one.conversation[0], maxLength: 3 }),
  positions: uniqueArray(somePosition, { selector: (one) => one.conversation[0], maxLength: 3 }),
  expected: subarray(['bob', 'carol', 'dave']),
  rotations: integer({ min: 0, max: 3 }),
  chainSeq: integer({ min: 0, max: 9 }),
  sharesRead: boolean(),
})

/** What a browser makes of a vault: pins follow longer chains only, and the rest only grows. */
function changedBy(content: VaultContent, changes: Changes): VaultContent {
  const pinned = changes.pins.reduce((vault, one) => {
    const known = pinOf(vault, one.conversation)
    return known !== undefined && known.seq > one.seq ? vault : withPin(vault, one)
  }, content)
  const positioned = changes.positions.reduce((vault, one) => {
    const known = positionOf(vault, one.conversation)
    const further = known !== undefined && known.checkedN > one.checkedN ? known : one
    return withPosition(vault, { ...further, readN: Math.max(one.readN, known?.readN ?? 0) })
  }, pinned)
  const expecting = changes.expected.reduce(
    (vault, name) => withExpected(vault, { name, fingerprint: filled(32, name.length) }),
    positioned,
  )
  const keys = [1, 2, 3, 4].map((generation) => ({ generation, seed: filled(32, generation) }))
  const seq = content.chain.seq + changes.chainSeq
  return withPreferences(
    {
      ...withChainPosition(expecting, { seq, head: filled(32, seq) }),
      accountKeys: keys.slice(0, Math.max(content.accountKeys.length, changes.rotations + 1)),
    },
    { sharesRead: changes.sharesRead },
  )
}

const someVaults = record({ before: someChanges, mine: someChanges, theirs: someChanges }).map(
  ({ before, mine, theirs }) => {
    const base = changedBy({ ...EMPTY, chain: { seq: 2, head: filled(32, 2) } }, before)
    return { base, mine: changedBy(base, mine), theirs: changedBy(base, theirs) }
  },
)

describe('any two vaults of one base', () => {
  it('lose nothing by being merged', () => {
    assert(
      property(someVaults, ({ base, mine, theirs }) => {
        const merged = mergeVaults({ base, mine, theirs })
        for (const vault of [base, mine, theirs]) {
          for (const one of vault.pins) {
            expect(pinOf(merged, one.conversation)?.seq).toBeGreaterThanOrEqual(one.seq)
          }
          for (const one of vault.positions) {
            const after = positionOf(merged, one.conversation)
            expect(after?.checkedN).toBeGreaterThanOrEqual(one.checkedN)
            expect(after?.readN).toBeGreaterThanOrEqual(one.readN)
          }
          for (const { name } of vault.expected) expect(expectedOf(merged, name)).toBeDefined()
          for (const key of vault.accountKeys) expect(merged.accountKeys).toContainEqual(key)
          expect(merged.chain.seq).toBeGreaterThanOrEqual(vault.chain.seq)
        }
        expect(decodeVaultContent(encodeVaultContent(merged))).toEqual(merged)
      }),
    )
  })

  it('come out the same whoever merges', () => {
    assert(
      property(someVaults, ({ base, mine, theirs }) => {
        expect(mergeVaults({ base, mine, theirs })).toEqual(mergeVaults({ base, mine: theirs, theirs: mine }))
      }),
    )
  })

  it('come out as they were when nothing, or the same, was changed', () => {
    assert(
      property(someVaults, ({ base, mine }) => {
        expect(mergeVaults({ base, mine, theirs: mine })).toEqual(mine)
        expect(mergeVaults({ base, mine, theirs: base })).toEqual(mine)
        expect(mergeVaults({ base, mine: base, theirs: mine })).toEqual(mine)
      }),
    )
  })

  it('give no identity a comparison that was not made of it', () => {
    assert(
      property(someVaults, ({ base, mine, theirs }) => {
        const merged = mergeVaults({ base, mine, theirs })
        for (const { conversation, identityPublic, verifiedAt } of merged.pins) {
          if (verifiedAt === 0) continue
          const made = [mine, theirs].map((vault) => pinOf(vault, conversation))
          expect(made).toContainEqual(expect.objectContaining({ identityPublic, verifiedAt }))
        }
      }),
    )
  })

  it('keep what only one of them decided', () => {
    assert(
      property(someVaults, ({ base, mine, theirs }) => {
        const merged = mergeVaults({ base, mine, theirs })
        if (mine.preferences.sharesRead === base.preferences.sharesRead)
          expect(merged.preferences).toEqual(theirs.preferences)
        else expect(merged.preferences).toEqual(mine.preferences)
      }),
    )
  })
})

const threeVaults = record({ before: someChanges, a: someChanges, b: someChanges, c: someChanges }).map(
  ({ before, a, b, c }) => {
    const base = changedBy({ ...EMPTY, chain: { seq: 2, head: filled(32, 2) } }, before)
    return { base, a: changedBy(base, a), b: changedBy(base, b), c: changedBy(base, c) }
  },
)

describe('any three vaults of one base', () => {
  it('come out the same in whichever order they are merged', () => {
    assert(
      property(threeVaults, ({ base, a, b, c }) => {
        const merge = (mine: VaultContent, theirs: VaultContent): VaultContent =>
          mergeVaults({ base, mine, theirs })
        const all = merge(a, merge(b, c))

        expect(merge(merge(a, b), c)).toEqual(all)
        expect(merge(b, merge(c, a))).toEqual(all)
        expect(merge(all, a)).toEqual(all)
        expect(merge(all, all)).toEqual(all)
      }),
    )
  })

  it('lose no place, no key, and no comparison of the identity that stays', () => {
    assert(
      property(threeVaults, ({ base, a, b, c }) => {
        const all = mergeVaults({ base, mine: a, theirs: mergeVaults({ base, mine: b, theirs: c }) })

        for (const { conversation, identityPublic, seq, verifiedAt } of all.pins) {
          const before = pinOf(base, conversation)
          const said = [a, b, c].flatMap((vault) => pinOf(vault, conversation) ?? [])
          expect(seq).toBe(Math.max(...said.map((one) => one.seq)))
          const ofIt = said.filter((one) => equal(one.identityPublic, identityPublic))
          const known =
            before !== undefined && equal(before.identityPublic, identityPublic) ? before.verifiedAt : 0
          const news = ofIt.map((one) => one.verifiedAt).filter((at) => at !== known)
          const takenBack = news.includes(0)
          expect(verifiedAt).toBe(takenBack ? 0 : news.length > 0 ? Math.max(...news) : known)
        }
        for (const vault of [a, b, c]) {
          for (const { conversation } of vault.pins) expect(pinOf(all, conversation)).toBeDefined()
          for (const key of vault.accountKeys) expect(all.accountKeys).toContainEqual(key)
          for (const { name } of vault.expected) expect(expectedOf(all, name)).toBeDefined()
          for (const { conversation, checkedN, readN } of vault.positions) {
            expect(positionOf(all, conversation)?.checkedN).toBeGreaterThanOrEqual(checkedN)
            expect(positionOf(all, conversation)?.readN).toBeGreaterThanOrEqual(readN)
          }
        }
      }),
    )
  })
})
