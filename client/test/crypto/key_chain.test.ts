import { assert, asyncProperty, constantFrom, integer, array } from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'

import { createFromSeed, type Device } from '../../src/crypto/device'
import {
  ChainBehind,
  ChainForeign,
  ChainForked,
  ChainInvalid,
  ChainRolledBack,
  IdentityChanged,
  UnknownDevice,
} from '../../src/crypto/errors'
import { publicOfSeed } from '../../src/crypto/hpke'
import {
  accountKeyAt,
  activeDevices,
  checkChainPosition,
  deviceOf,
  extendKeyChain,
  hasActiveDevice,
  hasDevice,
  identityAt,
  identityChangedSince,
  newestAccountKey,
  positionOfChain,
  retireEntry,
  signChainEntry,
  stoodAt,
  type VerifiedChain,
  verifyKeyChain,
  verifyOwnKeyChain,
} from '../../src/crypto/key_chain'
import { ed25519 } from '../../src/crypto/ed25519'
import type { Bytes } from '../../src/wire/bytes'
import { encodeCbor } from '../../src/wire/cbor'
import type { ChainPayload } from '../../src/wire/objects'
import { flipped, NOW, ORIGIN } from './people'

const EXPECTED = { origin: ORIGIN, name: 'alice' } as const
const seed = (value: number): Bytes => new Uint8Array(32).fill(value)
const FIRST = seed(1)
const SECOND = seed(2)

type Identity = Bytes

const publicKeyOf = async (identity: Identity): Promise<Bytes> => (await ed25519()).publicOf(identity)

const accountPublics = new Map<number, Promise<Bytes>>()

function accountPublic(generation: number): Promise<Bytes> {
  const made = accountPublics.get(generation) ?? publicOfSeed(seed(100 + generation))
  accountPublics.set(generation, made)
  return made
}

async function newIdentity(
  kind: 'genesis' | 'reset',
  identity: Identity,
  generation: number,
  changes: { readonly origin?: string; readonly name?: string } = {},
): Promise<ChainPayload> {
  return {
    kind,
    ...EXPECTED,
    identityPublic: await publicKeyOf(identity),
    generation,
    accountPublic: await accountPublic(generation),
    ...changes,
  }
}

async function rotation(generation: number, vaultGeneration: number): Promise<ChainPayload> {
  return { kind: 'ak_rotate', generation, accountPublic: await accountPublic(generation), vaultGeneration }
}

function entryAfter(chain: VerifiedChain | null, payload: ChainPayload, signer: Bytes): Promise<Bytes> {
  const key = { kind: 'seed', seed: signer } as const
  const previous = chain === null ? null : positionOfChain(chain)
  return signChainEntry({ previous, payload, key, at: NOW + (chain?.seq ?? 0) })
}

async function then(chain: VerifiedChain, payload: ChainPayload, signer: Bytes): Promise<VerifiedChain> {
  return extendKeyChain(chain, [await entryAfter(chain, payload, signer)])
}

const deviceSeed = (device: Device): Bytes => (device.key.kind === 'seed' ? device.key.seed : seed(0))

describe('a key chain', () => {
  let laptop: Device
  let phone: Device
  let tablet: Device
  let genesis: Bytes
  let begun: VerifiedChain
  /** genesis, laptop, phone. */
  let two: VerifiedChain
  const revoke = ({ id }: Device): ChainPayload => ({ kind: 'device_revoke', device: id })
  const retire = ({ id }: Device): ChainPayload => ({ kind: 'device_retire', device: id })
  const add = ({ publicKey }: Device): ChainPayload => ({ kind: 'device_add', devicePublic: publicKey })

  beforeAll(async () => {
    laptop = await createFromSeed(seed(11))
    phone = await createFromSeed(seed(12))
    tablet = await createFromSeed(seed(13))
    genesis = await entryAfter(null, await newIdentity('genesis', FIRST, 1), FIRST)
    begun = await verifyKeyChain([genesis], EXPECTED)
    two = await then(await then(begun, add(laptop), FIRST), add(phone), FIRST)
  })

  const refused = async (chain: VerifiedChain, payload: ChainPayload, signer: Bytes): Promise<void> => {
    await expect(then(chain, payload, signer)).rejects.toThrow(ChainInvalid)
  }

  it('tells who stands and who stood', async () => {
    const chain = await then(await then(two, revoke(laptop), FIRST), retire(phone), deviceSeed(phone))

    expect(activeDevices(two).map(({ id }) => id)).toEqual([laptop.id, phone.id])
    expect(activeDevices(chain)).toEqual([])
    expect(deviceOf(chain, laptop.id).ended).toEqual({ seq: 4, at: NOW + 3, by: 'revoke' })
    expect(deviceOf(chain, phone.id)).toMatchObject({
      addedSeq: 3,
      addedAt: NOW + 2,
      ended: { by: 'retire' },
    })
    expect([2, 3, 4, 5].map((seq) => stoodAt(deviceOf(chain, laptop.id), seq))).toEqual([
      true,
      true,
      false,
      false,
    ])
    expect(hasDevice(chain, phone.id)).toBe(true)
    expect(hasActiveDevice(chain, phone.id)).toBe(false)
    expect(hasDevice(chain, tablet.id)).toBe(false)
    expect(() => deviceOf(chain, tablet.id)).toThrow(UnknownDevice)
    // The chain that was extended is as it was.
    expect(hasActiveDevice(two, laptop.id)).toBe(true)
  })

  it('revokes only what stands, and only by the identity', async () => {
    const revoked = await then(two, revoke(laptop), FIRST)

    await refused(two, revoke(tablet), FIRST)
    await refused(revoked, revoke(laptop), FIRST)
    await refused(revoked, retire(laptop), deviceSeed(laptop))
    await refused(two, revoke(laptop), deviceSeed(laptop))
    await refused(two, revoke(laptop), SECOND)
  })

  it('retires a device by that device alone', async () => {
    const entry = await retireEntry(two, phone, NOW)
    const retired = await extendKeyChain(two, [entry])

    expect(deviceOf(retired, phone.id).ended).toEqual({ seq: 4, at: NOW, by: 'retire' })
    await refused(two, retire(phone), FIRST)
    await refused(two, retire(phone), deviceSeed(laptop))
    await refused(retired, retire(phone), deviceSeed(phone))
    await refused(two, retire(tablet), deviceSeed(tablet))
  })

  it('retires by a key that cannot be read out', async () => {
    const pair = await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify'])
    const publicKey = new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey))
    const chain = await then(begun, { kind: 'device_add', devicePublic: publicKey }, FIRST)
    const [device] = activeDevices(chain)
    if (device === undefined) throw new Error('It was added.')

    const key = { kind: 'webcrypto', privateKey: pair.privateKey } as const
    const retired = await extendKeyChain(chain, [await retireEntry(chain, { id: device.id, key }, NOW)])

    expect(activeDevices(retired)).toEqual([])
  })

  it('takes no device twice, whatever became of it', async () => {
    const revoked = await then(two, revoke(laptop), FIRST)
    const fresh = await then(two, await newIdentity('reset', SECOND, 2), SECOND)

    await refused(two, add(laptop), FIRST)
    await refused(revoked, add(laptop), FIRST)
    await refused(fresh, add(laptop), SECOND)
  })

  it('takes the next account key, and keeps the vault key or replaces it', async () => {
    const kept = await then(two, await rotation(2, 1), FIRST)
    const renewed = await then(kept, await rotation(3, 2), FIRST)

    expect(newestAccountKey(renewed)).toEqual({
      generation: 3,
      publicKey: await accountPublic(3),
      seq: 5,
      at: NOW + 4,
    })
    expect([1, 3, 4, 5].map((seq) => accountKeyAt(renewed, seq).generation)).toEqual([1, 1, 2, 3])
    expect([two, kept, renewed].map(({ vaultGeneration }) => vaultGeneration)).toEqual([1, 1, 2])
    for (const [generation, vaultGeneration] of [
      [3, 2],
      [5, 2],
      [4, 1],
      [4, 4],
    ] as const) {
      await refused(renewed, await rotation(generation, vaultGeneration), FIRST)
    }
    await refused(two, await rotation(2, 1), SECOND)
    await refused(two, await rotation(2, 1), deviceSeed(laptop))
  })

  it('starts fresh with another identity, and ends every device', async () => {
    const retired = await then(two, retire(phone), deviceSeed(phone))
    const fresh = await then(retired, await newIdentity('reset', SECOND, 2), SECOND)
    const going = await then(fresh, add(tablet), SECOND)

    expect(deviceOf(going, laptop.id).ended).toEqual({ seq: 5, at: NOW + 4, by: 'reset' })
    expect(deviceOf(going, phone.id).ended?.by).toBe('retire')
    expect(activeDevices(going).map(({ id }) => id)).toEqual([tablet.id])
    expect(going.identityPublic).toEqual(await publicKeyOf(SECOND))
    expect(going.identities.map(({ seq, at }) => [seq, at])).toEqual([
      [1, NOW],
      [5, NOW + 4],
    ])
    expect(identityAt(going, 4).fingerprint).toEqual(two.fingerprint)
    expect(identityAt(going, 5).fingerprint).toEqual(going.fingerprint)
    expect(() => identityAt(going, 7)).toThrow(ChainBehind)
    expect(going.fingerprint).not.toEqual(two.fingerprint)
    expect(going.vaultGeneration).toBe(2)
    // Whoever signed before has nothing to say any more.
    await refused(going, revoke(tablet), FIRST)
    await refused(going, await rotation(3, 2), FIRST)
    await refused(going, retire(laptop), deviceSeed(laptop))
  })

  it('is not started fresh by who was there before, or with another generation, name or server', async () => {
    const fresh = await then(two, await newIdentity('reset', SECOND, 2), SECOND)

    await refused(two, await newIdentity('reset', FIRST, 2), FIRST)
    await refused(fresh, await newIdentity('reset', SECOND, 3), SECOND)
    await refused(fresh, await newIdentity('reset', FIRST, 3), FIRST)
    await refused(two, await newIdentity('reset', SECOND, 3), SECOND)
    await refused(two, await newIdentity('reset', SECOND, 2), FIRST)
    for (const changes of [{ name: 'mallory' }, { origin: 'https://evil.example' }]) {
      const reset = await newIdentity('reset', SECOND, 2, changes)
      await expect(then(two, reset, SECOND)).rejects.toThrow(ChainForeign)
    }
  })

  it('begins once', async () => {
    const again = await newIdentity('genesis', FIRST, 1)
    const reset = await entryAfter(null, await newIdentity('reset', FIRST, 2), FIRST)

    await refused(two, again, FIRST)
    await expect(verifyKeyChain([reset], EXPECTED)).rejects.toThrow(ChainInvalid)
    await expect(verifyKeyChain([], EXPECTED)).rejects.toThrow(ChainInvalid)
  })

  it('refuses a kind that is not known', async () => {
    const body = encodeCbor([1, 4, two.head, 'device_rename', [laptop.id], NOW])
    const { sign } = await import('../../src/crypto/ed25519')
    const signature = await sign({ kind: 'seed', seed: FIRST }, 'chain', body)

    await expect(extendKeyChain(two, [encodeCbor([body, signature])])).rejects.toThrow(ChainInvalid)
  })

  it('refuses every flipped bit of every kind', { timeout: 60_000 }, async () => {
    const next: readonly (readonly [ChainPayload, Bytes, number])[] = [
      [add(tablet), FIRST, 1],
      [revoke(laptop), FIRST, 1],
      [retire(phone), deviceSeed(phone), 1],
      [await rotation(2, 2), FIRST, 3],
      [await newIdentity('reset', SECOND, 2), SECOND, 3],
    ]
    for (const [payload, signer, step] of next) {
      const entry = await entryAfter(two, payload, signer)
      await extendKeyChain(two, [entry])
      for (const altered of flipped(entry, step)) {
        await expect(extendKeyChain(two, [altered]), payload.kind).rejects.toThrow()
      }
    }
  })

  it('refuses entries in another order, left out or repeated', async () => {
    const entries = [genesis]
    let chain = begun
    for (const [payload, signer] of [
      [add(laptop), FIRST],
      [add(phone), FIRST],
      [revoke(laptop), FIRST],
      [await rotation(2, 2), FIRST],
      [await newIdentity('reset', SECOND, 3), SECOND],
      [add(tablet), SECOND],
    ] as const) {
      const entry = await entryAfter(chain, payload, signer)
      entries.push(entry)
      chain = await extendKeyChain(chain, [entry])
    }
    expect(await verifyKeyChain(entries, EXPECTED)).toEqual(chain)

    const places = entries.map((_, place) => place)
    const order = array(constantFrom(...places), { minLength: 1, maxLength: entries.length + 1 })
    await assert(
      asyncProperty(order, async (chosen) => {
        const inOrder = chosen.every((place, at) => place === at)
        const shown = chosen.map((place) => entries[place] ?? genesis)
        const outcome = await verifyKeyChain(shown, EXPECTED).then(
          ({ seq }) => seq,
          () => 'refused',
        )
        expect(outcome).toBe(inOrder ? chosen.length : 'refused')
      }),
      { numRuns: 200 },
    )
  })

  describe('that was seen before', () => {
    let entries: Bytes[]
    let before: VerifiedChain
    let after: VerifiedChain
    const pinOf = (chain: VerifiedChain) => ({
      identityPublic: chain.identityPublic,
      ...positionOfChain(chain),
    })

    beforeAll(async () => {
      const added = await entryAfter(begun, add(laptop), FIRST)
      before = await extendKeyChain(begun, [added])
      const reset = await entryAfter(before, await newIdentity('reset', SECOND, 2), SECOND)
      after = await extendKeyChain(before, [reset])
      entries = [genesis, added, reset]
    })

    it('may go on to another identity, which is told apart', async () => {
      const chain = await verifyKeyChain(entries, { ...EXPECTED, pinned: pinOf(before) })

      expect(chain).toEqual(after)
      expect(identityChangedSince(chain, pinOf(before))).toBe(true)
      expect(identityChangedSince(chain, pinOf(after))).toBe(false)
      expect(identityChangedSince(before, pinOf(before))).toBe(false)
    })

    it("is refused as one's own with another identity, unless that one is the pinned", async () => {
      await expect(verifyOwnKeyChain(entries, { ...EXPECTED, pinned: pinOf(before) })).rejects.toThrow(
        IdentityChanged,
      )
      expect(await verifyOwnKeyChain(entries, { ...EXPECTED, pinned: pinOf(after) })).toEqual(after)
    })

    it('is refused when the pinned identity did not hold at the pinned place', async () => {
      const late = { ...pinOf(before), ...positionOfChain(after) }
      const early = { ...pinOf(after), ...positionOfChain(before) }

      for (const pinned of [late, early]) {
        await expect(verifyKeyChain(entries, { ...EXPECTED, pinned })).rejects.toThrow(IdentityChanged)
      }
    })

    it('is refused when it is shorter, has another entry there, or begins with somebody else', async () => {
      const other = await entryAfter(begun, add(phone), FIRST)
      const stranger = await entryAfter(null, await newIdentity('genesis', SECOND, 1), SECOND)
      const pinned = pinOf(before)

      await expect(verifyKeyChain([genesis], { ...EXPECTED, pinned })).rejects.toThrow(ChainRolledBack)
      await expect(verifyKeyChain([], { ...EXPECTED, pinned })).rejects.toThrow(ChainRolledBack)
      await expect(verifyKeyChain([genesis, other], { ...EXPECTED, pinned })).rejects.toThrow(ChainRolledBack)
      await expect(verifyKeyChain([stranger], { ...EXPECTED, pinned })).rejects.toThrow(IdentityChanged)
    })

    it('has what somebody else saw of it, or was forked', () => {
      checkChainPosition(after, positionOfChain(before))
      expect(() => {
        checkChainPosition(before, positionOfChain(after))
      }).toThrow(ChainBehind)
      expect(() => {
        checkChainPosition(after, { seq: 2, head: after.head })
      }).toThrow(ChainForked)
    })
  })

  it('comes out the same however it is fetched in pieces', async () => {
    const entries = [genesis]
    let chain = begun
    for (const payload of [add(laptop), add(phone), revoke(phone), await rotation(2, 2)]) {
      entries.push(await entryAfter(chain, payload, FIRST))
      chain = await extendKeyChain(chain, entries.slice(-1))
    }
    await assert(
      asyncProperty(integer({ min: 1, max: entries.length }), async (cut) => {
        const first = await verifyKeyChain(entries.slice(0, cut), EXPECTED)
        expect(await extendKeyChain(first, entries.slice(cut))).toEqual(chain)
      }),
      { numRuns: 10 },
    )
  })
})
