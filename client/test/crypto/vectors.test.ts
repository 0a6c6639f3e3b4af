/** The golden vectors in the browser's code. tests/test_vectors.py reads the same files. */
import { beforeAll, describe, expect, it } from 'vitest'

import { argon2 } from '../../src/crypto/argon2'
import { importAesKey } from '../../src/crypto/box'
import { createFromSeed } from '../../src/crypto/device'
import { openDoor, publicDoor } from '../../src/crypto/doors'
import { native, sign } from '../../src/crypto/ed25519'
import { noble } from '../../src/crypto/ed25519_noble'
import { openEnvelope, padme, sealEnvelope } from '../../src/crypto/envelope'
import { openEpoch, type OpenedEpoch } from '../../src/crypto/epoch'
import { safetyNumber } from '../../src/crypto/fingerprint'
import { createHead, openHead } from '../../src/crypto/head'
import { open, publicOfSeed, seal } from '../../src/crypto/hpke'
import { type Chains, extendKeyChain, newestAccountKey, verifyKeyChain } from '../../src/crypto/key_chain'
import { hash, kdf, mac } from '../../src/crypto/labels'
import { logNext, logStart } from '../../src/crypto/log'
import {
  authKey,
  legacyPassword,
  normalisePassword,
  passwordDoor,
  passwordSalt,
} from '../../src/crypto/password'
import {
  formatRecoveryCode,
  parseRecoveryCode,
  recoveryDoor,
  recoveryHash,
  recoveryProof,
} from '../../src/crypto/recovery_code'
import { DoorClosed } from '../../src/crypto/errors'
import { openVault, pinOf, positionOf, sealVault } from '../../src/crypto/vault'
import { advanceWriters, NO_WRITERS, type WriterSpans } from '../../src/crypto/writer_chain'
import { type Bytes, concat, type Random, toHex } from '../../src/wire/bytes'
import { decodeVaultContent, doorKind, encodeVaultContent } from '../../src/wire/objects'
import { bytes, load, type PeopleVector, type PersonVector, type RefusedVector } from '../vectors'
import { flipped } from './people'

/** Tens of thousands of attempts, on a machine that may be busy. */
const LONG_MS = 180_000

const people = load('people') as PeopleVector

function oneAfterAnother(...parts: readonly Bytes[]): Random {
  const left = [...parts]
  return (length) => {
    const part = left.shift()
    if (part?.length !== length) throw new Error('The vector draws other randomness.')
    return part
  }
}

function chainOf(person: PersonVector): Promise<Chains[0]> {
  return verifyKeyChain(person.entries.map(bytes), { origin: people.origin, name: person.name })
}

describe('derivation', () => {
  interface DerivationVector {
    readonly origin: string
    readonly name: string
    readonly client_salt: string
    readonly password: string
    readonly normalised: string
    readonly salt: string
    readonly stretched: string
    readonly auth_key: string
    readonly door_public: string
    readonly legacy: {
      readonly password: string
      readonly legacy_salt: string
      readonly stretched_from: string
    }
    readonly primitives: Readonly<
      Record<'secret' | 'context' | 'hash' | 'mac' | 'kdf' | 'signature' | 'public' | 'xwing_public', string>
    >
  }
  const vector = load('derivation') as DerivationVector

  it('goes from the password to what is sent and what stays', async () => {
    const salt = await passwordSalt({ ...vector, clientSalt: bytes(vector.client_salt) })
    const password = normalisePassword(vector.password)
    const stretched = await argon2(password, salt)

    expect(toHex(password)).toBe(vector.normalised)
    expect(toHex(salt)).toBe(vector.salt)
    expect(toHex(stretched)).toBe(vector.stretched)
    expect(await authKey(stretched)).toBe(vector.auth_key)
    expect(vector.auth_key).toHaveLength(47)
    expect(toHex((await passwordDoor(stretched)).publicKey)).toBe(vector.door_public)
  })

  it('takes the digest of the first version for its accounts', async () => {
    const { password, legacy_salt: salt, stretched_from: expected } = vector.legacy

    expect(toHex(await legacyPassword(password, salt))).toBe(expected)
  })

  it('hashes, tags, derives and signs under labels', async () => {
    const { primitives } = vector
    const secret = bytes(primitives.secret)
    const context = bytes(primitives.context)

    expect(toHex(await hash('log', secret, context))).toBe(primitives.hash)
    expect(toHex(await mac(secret, 'franking', context))).toBe(primitives.mac)
    expect(toHex(await kdf(secret, 'message', context))).toBe(primitives.kdf)
    expect(toHex(await sign({ kind: 'seed', seed: secret }, 'head', context))).toBe(primitives.signature)
    expect(toHex(await publicOfSeed(secret))).toBe(primitives.xwing_public)
    for (const ed25519 of [native, noble]) {
      expect(toHex(await ed25519.publicOf(secret))).toBe(primitives.public)
    }
  })
})

describe('sealing', () => {
  const vector = load('hpke') as Readonly<
    Record<'seed' | 'public' | 'randomness' | 'context' | 'plaintext' | 'sealed', string>
  >
  const context = bytes(vector.context)

  it('makes the recorded bytes from the recorded randomness', async () => {
    const unsafeRandomnessForTests = bytes(vector.randomness)
    const sealing = {
      publicKey: bytes(vector.public),
      what: 'door/vault-key',
      context,
      unsafeRandomnessForTests,
    } as const

    expect(toHex(await seal(sealing, bytes(vector.plaintext)))).toBe(vector.sealed)
  })

  it('opens for its purpose and context only, and never with a sampled bit flipped', async () => {
    const seed = bytes(vector.seed)
    const sealed = bytes(vector.sealed)
    const closed = (): DoorClosed => new DoorClosed()
    const opening = { seed, what: 'door/vault-key', context } as const

    expect(toHex(await open(opening, sealed, closed))).toBe(vector.plaintext)
    await expect(open({ ...opening, what: 'door/identity' }, sealed, closed)).rejects.toThrow(DoorClosed)
    await expect(open({ ...opening, context: new Uint8Array() }, sealed, closed)).rejects.toThrow(DoorClosed)
    for (const altered of flipped(sealed, 37)) {
      await expect(open(opening, altered, closed)).rejects.toThrow(DoorClosed)
    }
  })
})

describe('the recovery code', () => {
  interface RecoveryVector {
    readonly code: string
    readonly text: string
    readonly spellings: readonly string[]
    readonly refused: readonly string[]
    readonly proof: string
    readonly hash: string
    readonly door_public: string
  }
  const vector = load('recovery_code') as RecoveryVector
  const code = bytes(vector.code)

  it('is written in groups and read in every spelling', () => {
    expect(formatRecoveryCode(code)).toBe(vector.text)
    for (const spelling of vector.spellings) expect(toHex(parseRecoveryCode(spelling))).toBe(vector.code)
    for (const typed of vector.refused) {
      expect(() => parseRecoveryCode(typed)).toThrow(
        expect.objectContaining({ code: 'recovery_code_malformed' }),
      )
    }
  })

  it('proves itself and opens its door', async () => {
    expect(toHex(await recoveryProof(code))).toBe(vector.proof)
    expect(toHex(await recoveryHash(code))).toBe(vector.hash)
    expect(toHex((await recoveryDoor(code)).publicKey)).toBe(vector.door_public)
  })
})

describe('doors', () => {
  it.each([people.alice, people.bob])('open for password and code: $name', async (person) => {
    const keys = [
      await passwordDoor(bytes(person.stretched)),
      await recoveryDoor(bytes(person.recovery_code)),
    ]
    for (const [index, key] of keys.entries()) {
      const stored = person.doors[index]
      if (stored === undefined) throw new Error('The vector has two doors.')
      const door = {
        kind: doorKind(stored.kind),
        publicKey: bytes(stored.public),
        sealedVaultKey: bytes(stored.sealed_vault_key),
        sealedIdentity: bytes(stored.sealed_identity),
      }
      const behind = await openDoor(door, person.name, key)

      expect(toHex(behind.vaultKey)).toBe(person.vault_key)
      expect(toHex(behind.identitySeed)).toBe(person.identity_seed)
      await expect(openDoor(door, 'carol', key)).rejects.toThrow(
        expect.objectContaining({ code: 'door_closed' }),
      )
    }
  })
})

it('a tag ties a door to one identity', async () => {
  const { alice, bob } = people
  const key = await passwordDoor(bytes(alice.stretched))
  const owner = { name: alice.name, identityPublic: bytes(alice.identity_public) }

  const { tag } = await publicDoor(key, owner)

  expect(toHex(tag)).toBe(alice.doors[0]?.tag)
  const other = { ...owner, identityPublic: bytes(bob.identity_public) }
  expect((await publicDoor(key, other)).tag).not.toEqual(tag)
  expect((await publicDoor(key, { ...owner, name: bob.name })).tag).not.toEqual(tag)
})

describe('a key chain', () => {
  interface ChainVector {
    readonly origin: string
    readonly name: string
    readonly entries: readonly string[]
    readonly hashes: readonly string[]
    readonly refused: readonly (RefusedVector & { readonly entries: readonly string[] })[]
    /** With every kind of entry. */
    readonly long: {
      readonly entries: readonly string[]
      readonly hashes: readonly string[]
      readonly devices: readonly {
        readonly device: string
        readonly added_seq: number
        readonly ended: { readonly seq: number; readonly by: string } | null
      }[]
      readonly vault_generation: number
      readonly generation: number
      readonly identities: readonly { readonly seq: number; readonly fingerprint: string }[]
    }
  }
  const vector = load('key_chain') as ChainVector
  const entries = vector.entries.map(bytes)

  it('is accepted, with the hashes of its entries', async () => {
    const chain = await verifyKeyChain(entries, vector)

    expect(chain.hashes.map(toHex)).toEqual(vector.hashes)
    expect(chain.devices.size).toBe(2)
    expect(toHex(chain.fingerprint)).toBe(people.alice.fingerprint)
    expect(toHex(newestAccountKey(chain).publicKey)).toBe(people.alice.account_public)
  })

  it('is accepted with every kind of entry, and says who stands', async () => {
    const { long } = vector
    const chain = await verifyKeyChain(long.entries.map(bytes), vector)

    expect(chain.hashes.map(toHex)).toEqual(long.hashes)
    expect(
      Array.from(chain.devices.values(), ({ id, addedSeq, ended }) => ({
        device: toHex(id),
        added_seq: addedSeq,
        ended: ended === null ? null : { seq: ended.seq, by: ended.by },
      })),
    ).toEqual(long.devices)
    expect(chain.vaultGeneration).toBe(long.vault_generation)
    expect(newestAccountKey(chain).generation).toBe(long.generation)
    expect(
      chain.identities.map(({ seq, fingerprint }) => ({ seq, fingerprint: toHex(fingerprint) })),
    ).toEqual(long.identities)
  })

  it.each(vector.refused)('is refused: $why', async (refused) => {
    await expect(verifyKeyChain(refused.entries.map(bytes), vector)).rejects.toThrow(
      expect.objectContaining({ code: refused.code }),
    )
  })

  it('is refused when it is shorter or another than the pinned one', async () => {
    const { identityPublic, seq, head } = await verifyKeyChain(entries, vector)
    const pinned = { identityPublic, seq, head }
    const other = { ...pinned, identityPublic: new Uint8Array(32) }

    await verifyKeyChain(entries, { ...vector, pinned })
    for (const shorter of [[], entries.slice(0, 2)]) {
      await expect(verifyKeyChain(shorter, { ...vector, pinned })).rejects.toThrow(
        expect.objectContaining({ code: 'chain_rolled_back' }),
      )
    }
    await expect(verifyKeyChain(entries, { ...vector, pinned: other })).rejects.toThrow(
      expect.objectContaining({ code: 'identity_changed' }),
    )
  })

  it('is refused with any single bit of an entry flipped', { timeout: LONG_MS }, async () => {
    const [genesis, added] = entries
    if (genesis === undefined || added === undefined) throw new Error('The vector has three entries.')
    const begun = await verifyKeyChain([genesis], vector)

    for (const altered of flipped(genesis)) {
      await expect(verifyKeyChain([altered, ...entries.slice(1)], vector)).rejects.toThrow()
    }
    for (const altered of flipped(added)) await expect(extendKeyChain(begun, [altered])).rejects.toThrow()
  })
})

describe('the safety number', () => {
  it('is the same for both people', async () => {
    const { one, other, safety_number: expected } = people.safety

    expect(await safetyNumber(bytes(one), bytes(other))).toBe(expected)
    expect(await safetyNumber(bytes(other), bytes(one))).toBe(expected)
    expect(expected).toMatch(/^(\d{5} ){11}\d{5}$/)
  })
})

describe('a vault', () => {
  interface VaultVector {
    readonly vault_key: string
    readonly name: string
    readonly version: number
    readonly nonce: string
    readonly pin: Readonly<Record<'conversation' | 'fingerprint', string>> & { readonly verified_at: number }
    readonly position: { readonly conversation: string; readonly checked_n: number; readonly read_n: number }
    readonly expected: readonly { readonly name: string; readonly fingerprint: string }[]
    readonly preferences: { readonly shares_read: 0 | 1 }
    readonly content: string
    readonly box: string
  }
  const vector = load('vault') as VaultVector

  it('opens, and comes out the same when sealed again', async () => {
    const vaultKey = await importAesKey(bytes(vector.vault_key))
    const { name, version } = vector
    const { content } = await openVault({ vaultKey, name, vault: { version, box: bytes(vector.box) } })
    const conversation = bytes(vector.pin.conversation)

    expect(pinOf(content, conversation)).toMatchObject({ verifiedAt: vector.pin.verified_at })
    expect(content.expected).toEqual(
      vector.expected.map(({ name: whose, fingerprint }) => ({
        name: whose,
        fingerprint: bytes(fingerprint),
      })),
    )
    expect(content.preferences).toEqual({ sharesRead: vector.preferences.shares_read === 1 })
    expect(positionOf(content, conversation)).toMatchObject({ checkedN: 41, readN: 40 })
    expect(toHex(encodeVaultContent(content))).toBe(vector.content)
    const random = oneAfterAnother(bytes(vector.nonce))
    expect(toHex((await sealVault({ vaultKey, name, version, content, random })).box)).toBe(vector.box)
  })

  it('is refused with a bit flipped, under another version and when a newer one was seen', async () => {
    const vaultKey = await importAesKey(bytes(vector.vault_key))
    const { name, version } = vector
    const box = bytes(vector.box)
    const altered = expect.objectContaining({ code: 'vault_altered' }) as Error

    for (const one of flipped(box)) {
      await expect(openVault({ vaultKey, name, vault: { version, box: one } })).rejects.toThrow(altered)
    }
    await expect(openVault({ vaultKey, name, vault: { version: 6, box } })).rejects.toThrow(altered)
    await expect(openVault({ vaultKey, name, vault: { version, box }, atLeast: 8 })).rejects.toThrow(
      expect.objectContaining({ code: 'vault_rolled_back' }),
    )
    expect(() => decodeVaultContent(concat(bytes(vector.content), new Uint8Array(1)))).toThrow()
  })
})

describe('epochs, envelopes and heads', () => {
  interface EpochVector {
    readonly conversation: string
    readonly records: readonly { readonly record: string; readonly secret: string; readonly hash: string }[]
    readonly refused: readonly (RefusedVector & { readonly after_first: boolean; readonly record: string })[]
  }
  interface EnvelopeVector {
    readonly messages: readonly {
      readonly client_id: string
      readonly franking_key: string
      readonly content: string
      readonly nonce: string
      readonly writer: { readonly writer: string; readonly seq: number; readonly prev: string }
      readonly log: { readonly n: number; readonly hash: string }
      readonly vault_version: number
      readonly sent_at: number
      readonly text: string
      readonly envelope: string
      readonly hash: string
      readonly log_after: string
    }[]
    readonly refused: readonly (RefusedVector & { readonly envelope: string })[]
  }
  interface HeadVector {
    readonly n: number
    readonly hash: string
    readonly vault_version: number
    readonly epoch: number
    readonly read_n: number
    readonly nonce: string
    readonly head: string
  }
  const epochVector = load('epoch') as EpochVector
  const envelopeVector = load('envelope') as EnvelopeVector
  const headVector = load('head') as HeadVector
  const conversation = bytes(epochVector.conversation)
  let chains: Chains
  let first: OpenedEpoch

  const openAs = (side: 0 | 1, record: Bytes, previous: OpenedEpoch | null): Promise<OpenedEpoch> => {
    const seed = bytes([people.alice, people.bob][side]?.account_seed ?? '')
    return openEpoch(record, { conversation, previous, side, chains, accountKeys: [{ generation: 1, seed }] })
  }

  beforeAll(async () => {
    chains = [await chainOf(people.alice), await chainOf(people.bob)]
    first = await openAs(1, bytes(epochVector.records[0]?.record ?? ''), null)
  })

  it('opens the records for both people', async () => {
    for (const side of [0, 1] as const) {
      let previous: OpenedEpoch | null = null
      for (const { record, secret, hash: recordHash } of epochVector.records) {
        previous = await openAs(side, bytes(record), previous)
        expect(toHex(previous.secret ?? new Uint8Array())).toBe(secret)
        expect(toHex(previous.hash)).toBe(recordHash)
      }
    }
  })

  it.each(epochVector.refused)(
    'refuses a record: $why',
    async ({ record, after_first: afterFirst, code }) => {
      await expect(openAs(1, bytes(record), afterFirst ? first : null)).rejects.toThrow(
        expect.objectContaining({ code }),
      )
    },
  )

  it('refuses a record with any bit flipped', { timeout: LONG_MS }, async () => {
    for (const altered of flipped(bytes(epochVector.records[0]?.record ?? ''))) {
      await expect(openAs(1, altered, null)).rejects.toThrow()
    }
  })

  it('opens the messages, follows the log and seals the same bytes', async () => {
    const device = await createFromSeed(bytes(people.alice.device_seed))
    let log = await logStart(conversation)
    let writers: WriterSpans = NO_WRITERS
    for (const message of envelopeVector.messages) {
      const clientId = bytes(message.client_id)
      const context = {
        conversation,
        side: 0,
        clientId,
        epochs: new Map([[1, first]]),
        chains,
        n: log.n + 1,
      } as const
      const opened = await openEnvelope(bytes(message.envelope), context)
      writers = advanceWriters(writers, opened.header, opened.hash, { fromFirst: true })
      const again = await sealEnvelope({
        epoch: first,
        side: 0,
        chains,
        device,
        clientId,
        writer: { ...message.writer, writer: bytes(message.writer.writer), prev: bytes(message.writer.prev) },
        log: { n: message.log.n, hash: bytes(message.log.hash) },
        vaultVersion: message.vault_version,
        content: { kind: 'text', sentAt: message.sent_at, text: message.text },
        random: oneAfterAnother(bytes(message.franking_key), bytes(message.nonce)),
      })
      log = await logNext(log, opened.hash)

      expect(opened.content).toEqual({ kind: 'text', sentAt: message.sent_at, text: message.text })
      expect(toHex(opened.frankingKey)).toBe(message.franking_key)
      expect(toHex(opened.contentBytes)).toBe(message.content)
      expect(toHex(again.envelope)).toBe(message.envelope)
      expect(toHex(log.hash)).toBe(message.log_after)
    }
  })

  it.each(envelopeVector.refused)('refuses an envelope: $why', async ({ envelope, code }) => {
    const clientId = bytes(envelopeVector.messages[0]?.client_id ?? '')
    const context = { conversation, side: 0, clientId, epochs: new Map([[1, first]]), chains } as const

    await expect(openEnvelope(bytes(envelope), context)).rejects.toThrow(expect.objectContaining({ code }))
  })

  it('opens a signed head, makes the same, and refuses every flipped bit', async () => {
    const head = bytes(headVector.head)
    const expected = { conversation, chain: chains[0], side: 0, epochs: new Map([[1, first]]) } as const
    const log = { n: headVector.n, hash: bytes(headVector.hash) }
    const { vault_version: vaultVersion, read_n: readN } = headVector
    const random = oneAfterAnother(bytes(headVector.nonce))
    const device = await createFromSeed(bytes(people.alice.device_seed))

    expect(await openHead(head, expected)).toMatchObject({ n: headVector.n, vaultVersion: 3, readN })
    expect(
      await createHead({ conversation, log, vaultVersion, device, epoch: first, readN, random }),
    ).toEqual(head)
    for (const altered of flipped(head)) await expect(openHead(altered, expected)).rejects.toThrow()
    await expect(openHead(head, { ...expected, chain: chains[1] })).rejects.toThrow()
  })
})

describe('padding', () => {
  it('follows Padmé', () => {
    const { padded } = load('padme') as { readonly padded: readonly (readonly [number, number])[] }

    for (const [length, expected] of padded) expect(padme(length)).toBe(expected)
  })
})
