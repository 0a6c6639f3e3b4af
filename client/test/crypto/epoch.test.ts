import { beforeAll, describe, expect, it } from 'vitest'

import { addDevice, type Unlocked } from '../../src/crypto/account'
import type { Device } from '../../src/crypto/device'
import { openEnvelope, sealEnvelope, type SealedEnvelope } from '../../src/crypto/envelope'
import {
  createEpoch,
  epochIsStale,
  type EpochContext,
  openEpoch,
  type OpenedEpoch,
} from '../../src/crypto/epoch'
import {
  AlteredMessage,
  ChainBehind,
  DeviceEnded,
  EpochInvalid,
  HeadInvalid,
  HistoryLost,
  NoAccountKey,
  UnknownDevice,
} from '../../src/crypto/errors'
import { createHead, openHead } from '../../src/crypto/head'
import { renewAccount, resetAccount } from '../../src/crypto/key_renewal'
import {
  type Chains,
  extendKeyChain,
  positionOfChain,
  retireEntry,
  signChainEntry,
  type VerifiedChain,
} from '../../src/crypto/key_chain'
import { logNext, type LogPosition, logStart } from '../../src/crypto/log'
import { newWriter } from '../../src/crypto/writer_chain'
import { type Bytes, systemRandom, utf8 } from '../../src/wire/bytes'
import {
  decodeEpochRecord,
  encodeEpochBody,
  encodeEpochRecord,
  encodeEpochSigned,
} from '../../src/wire/objects'
import { sign } from '../../src/crypto/ed25519'
import { type Cast, cast, CONVERSATION, countingRandom, flipped, NOW, unlocked } from './people'

const random = systemRandom
const CLIENT_ID = new Uint8Array(16).fill(7)

async function logOf(length: number): Promise<LogPosition> {
  let log = await logStart(CONVERSATION)
  for (let n = 1; n <= length; n += 1) log = await logNext(log, new Uint8Array(32).fill(n))
  return log
}

describe('epochs of people whose keys change', () => {
  let people: Cast
  /** Alice, who also has a phone. */
  let alice: Unlocked
  let laptop: Device
  let phone: Device
  let bob: VerifiedChain
  /** Alice's chain with both devices. */
  let whole: VerifiedChain
  let first: { readonly record: Bytes; readonly epoch: OpenedEpoch }

  /** An epoch of these chains after that one, by a device. */
  const epochAfter = (
    previous: OpenedEpoch | null,
    chains: Chains,
    device: Device,
    log: LogPosition,
  ): ReturnType<typeof createEpoch> =>
    createEpoch({ conversation: CONVERSATION, previous, chains, log, device, random })

  const asAlice = (chains: Chains, previous: OpenedEpoch | null, who: Unlocked = alice): EpochContext => ({
    conversation: CONVERSATION,
    previous,
    side: 0,
    chains,
    accountKeys: who.vault.content.accountKeys,
  })

  const asBob = (chains: Chains, previous: OpenedEpoch | null): EpochContext => ({
    ...asAlice(chains, previous),
    side: 1,
    accountKeys: people.bob.vault.content.accountKeys,
  })

  const message = (epoch: OpenedEpoch, chains: Chains, device: Device): Promise<SealedEnvelope> =>
    logStart(CONVERSATION).then((log) =>
      sealEnvelope({
        epoch,
        side: 0,
        chains,
        device,
        clientId: CLIENT_ID,
        writer: newWriter(random),
        log,
        vaultVersion: 1,
        content: { kind: 'text', sentAt: NOW, text: 'Hello' },
        random,
      }),
    )

  const readAs = (
    sent: SealedEnvelope,
    chains: Chains,
    epochs: readonly OpenedEpoch[],
    n: number,
  ): ReturnType<typeof openEnvelope> =>
    openEnvelope(sent.envelope, {
      conversation: CONVERSATION,
      side: 0,
      clientId: CLIENT_ID,
      epochs: new Map(epochs.map((epoch) => [epoch.epoch, epoch])),
      chains,
      n,
    })

  beforeAll(async () => {
    people = await cast()
    laptop = people.alice.browser.device
    const added = await addDevice(await unlocked(people.alice), { now: NOW + 1, random: countingRandom(220) })
    alice = added.unlocked
    phone = added.browser.device
    whole = alice.chain
    bob = people.bob.chain
    first = await epochAfter(null, [whole, bob], phone, await logOf(0))
  })

  const revoked = (device: Device): ReturnType<typeof renewAccount> =>
    renewAccount(alice, { revoke: [device.id], device: laptop, newStretched: null, now: NOW + 2, random })

  const retired = async (device: Device): Promise<VerifiedChain> =>
    extendKeyChain(whole, [await retireEntry(whole, device, NOW + 2)])

  const started = (): ReturnType<typeof resetAccount> =>
    resetAccount({
      origin: alice.origin,
      name: alice.name,
      entries: [...people.alice.keys.chain, ...addedEntries],
      vaultVersion: 1,
      stretched: utf8('another'.padEnd(32, '.')),
      recoveryCode: new Uint8Array(20).fill(44),
      now: NOW + 3,
      random,
    })
  let addedEntries: readonly Bytes[] = []
  beforeAll(async () => {
    const payload = { kind: 'device_add', devicePublic: phone.publicKey } as const
    const key = { kind: 'seed', seed: alice.identitySeed } as const
    const previous = positionOfChain(people.alice.chain)
    addedEntries = [await signChainEntry({ previous, payload, key, at: NOW + 1 })]
    expect((await extendKeyChain(people.alice.chain, addedEntries)).head).toEqual(whole.head)
  })

  it('are read where the keys were renewed since, and made anew for the next message', async () => {
    const { unlocked: renewed } = await revoked(phone)
    const chains = [renewed.chain, bob] as const
    const old = await openEpoch(first.record, asAlice(chains, null, renewed))

    expect(old).toEqual(first.epoch)
    expect(epochIsStale(first.epoch, [whole, bob])).toBe(false)
    expect(epochIsStale(old, chains)).toBe(true)

    const second = await epochAfter(old, chains, laptop, await logOf(2))
    expect(second.epoch.members[0]).toMatchObject({ generation: 2, seq: renewed.chain.seq })
    expect(await openEpoch(second.record, asAlice(chains, old, renewed))).toEqual(second.epoch)
    expect(await openEpoch(second.record, asBob(chains, old))).toEqual(second.epoch)
    expect(epochIsStale(second.epoch, chains)).toBe(false)
    await expect(openEpoch(second.record, asAlice(chains, old))).rejects.toThrow(NoAccountKey)
    await expect(openEpoch(second.record, asBob([whole, bob], old))).rejects.toThrow(ChainBehind)
  })

  it('go on when somebody only signed out', async () => {
    const chain = await retired(phone)

    expect(epochIsStale(first.epoch, [chain, bob])).toBe(false)
  })

  it('are made anew after a revocation alone', async () => {
    const payload = { kind: 'device_revoke', device: phone.id } as const
    const key = { kind: 'seed', seed: alice.identitySeed } as const
    const entry = await signChainEntry({ previous: positionOfChain(whole), payload, key, at: NOW })
    const chain = await extendKeyChain(whole, [entry])

    expect(epochIsStale(first.epoch, [chain, bob])).toBe(true)
  })

  it('are refused from a device that had ended at the place that they name', async () => {
    for (const chain of [(await revoked(phone)).unlocked.chain, await retired(phone)]) {
      const chains = [chain, bob] as const
      const { record } = await epochAfter(null, chains, phone, await logOf(0))

      await expect(openEpoch(record, asBob(chains, null))).rejects.toThrow(EpochInvalid)
      // What it made before its end stays good.
      expect((await openEpoch(first.record, asBob(chains, null))).epoch).toBe(1)
    }
  })

  it('are refused from a device before it was added', async () => {
    const { record } = await epochAfter(null, [people.alice.chain, bob], phone, await logOf(0))

    await expect(openEpoch(record, asBob([whole, bob], null))).rejects.toThrow(EpochInvalid)
    await expect(openEpoch(record, asBob([people.alice.chain, bob], null))).rejects.toThrow(UnknownDevice)
  })

  it('are taken though the friend put the same device on a chain of their own, and revoked it', async () => {
    const key = { kind: 'seed', seed: (await unlocked(people.bob)).identitySeed } as const
    let copying = bob
    for (const payload of [
      { kind: 'device_add', devicePublic: phone.publicKey },
      { kind: 'device_revoke', device: phone.id },
    ] as const) {
      const entry = await signChainEntry({ previous: positionOfChain(copying), payload, key, at: NOW })
      copying = await extendKeyChain(copying, [entry])
    }
    const { record } = await epochAfter(null, [whole, copying], phone, await logOf(0))

    expect((await openEpoch(record, asAlice([whole, copying], null))).device).toEqual(phone.id)
  })

  it('are refused with another fingerprint, an older generation or an older place', async () => {
    const { unlocked: renewed } = await revoked(phone)
    const chains = [renewed.chain, bob] as const
    const good = await epochAfter(first.epoch, chains, laptop, await logOf(0))
    const record = decodeEpochRecord(good.record)
    const { sealed } = record
    const [mine, theirs] = record.members
    const wrong = [
      { ...mine, fingerprint: bob.fingerprint },
      { ...mine, generation: 1 },
      { ...mine, generation: 3 },
      { ...first.epoch.members[0], seq: 2, head: whole.hashes[1] ?? mine.head },
    ]
    for (const member of wrong) {
      const body = encodeEpochBody({ ...record, members: [member, theirs] })
      const signature = await sign(laptop.key, 'epoch', encodeEpochSigned(body, sealed))
      const altered = encodeEpochRecord(body, sealed, signature)
      await expect(openEpoch(altered, asBob(chains, first.epoch))).rejects.toThrow(EpochInvalid)
    }
    await openEpoch(good.record, asBob(chains, first.epoch))
  })

  it('stay closed to who started fresh since, and open to the friend', async () => {
    const fresh = await started()
    const chains = [fresh.chain, bob] as const
    const keys = { ...alice, vault: { version: 2, content: { ...alice.vault.content, accountKeys: [] } } }

    const closed = await openEpoch(first.record, asAlice(chains, null, keys))
    expect(closed).toEqual({ ...first.epoch, secret: null })
    expect(await openEpoch(first.record, asBob(chains, null))).toEqual(first.epoch)
    expect(epochIsStale(closed, chains)).toBe(true)

    const second = await epochAfter(closed, chains, fresh.browser.device, await logOf(1))
    expect(second.epoch.members[0]).toMatchObject({ fingerprint: fresh.chain.fingerprint, generation: 2 })
    expect(await openEpoch(second.record, asBob(chains, closed))).toEqual(second.epoch)
    // A lost key of the present identity is no such thing.
    await expect(openEpoch(second.record, asAlice(chains, closed, keys))).rejects.toThrow(NoAccountKey)
  })

  it('that are closed give up no message, once it is known to be genuine', async () => {
    const fresh = await started()
    const chains = [fresh.chain, bob] as const
    const closed = { ...first.epoch, secret: null }
    const sent = await message(first.epoch, [whole, bob], phone)

    await expect(readAs(sent, chains, [closed], 1)).rejects.toThrow(HistoryLost)
    expect((await readAs(sent, chains, [first.epoch], 1)).content.text).toBe('Hello')
    for (const envelope of flipped(sent.envelope, 61)) {
      await expect(readAs({ ...sent, envelope }, chains, [closed], 1)).rejects.not.toThrow(HistoryLost)
    }
  })

  describe('and devices that ended', () => {
    let chains: Chains
    let second: OpenedEpoch
    let before: SealedEnvelope

    beforeAll(async () => {
      const { unlocked: renewed } = await revoked(phone)
      chains = [renewed.chain, bob]
      second = (await epochAfter(first.epoch, chains, laptop, await logOf(3))).epoch
      before = await message(first.epoch, [whole, bob], phone)
    })

    it('keep what was said before', async () => {
      expect((await readAs(before, chains, [first.epoch, second], 3)).content.text).toBe('Hello')
      expect((await readAs(before, [whole, bob], [first.epoch], 9)).content.text).toBe('Hello')
    })

    it('are not heard with what comes after', async () => {
      await expect(readAs(before, chains, [first.epoch, second], 4)).rejects.toThrow(DeviceEnded)
      await expect(readAs(before, chains, [first.epoch, second], 40)).rejects.toThrow(DeviceEnded)
    })

    it('are not heard under the epoch that was made without them, wherever it is put', async () => {
      const stolen = await message(second, chains, phone)

      await expect(readAs(stolen, chains, [first.epoch, second], 1)).rejects.toThrow(DeviceEnded)
      await expect(readAs(stolen, chains, [first.epoch, second], 4)).rejects.toThrow(DeviceEnded)
    })

    it('are only for the server to keep out until then', async () => {
      expect((await readAs(before, chains, [first.epoch], 4)).content.text).toBe('Hello')
    })

    it('leave the others alone', async () => {
      const other = await message(second, chains, laptop)

      expect((await readAs(other, chains, [first.epoch, second], 4)).content.text).toBe('Hello')
    })

    it('were altered before they were ended, if they were altered', async () => {
      const envelope = before.envelope.slice()
      envelope[envelope.length - 1] = (envelope.at(-1) ?? 0) ^ 1

      await expect(readAs({ ...before, envelope }, chains, [first.epoch, second], 9)).rejects.toThrow(
        AlteredMessage,
      )
    })

    it('end by signing out and by starting fresh, too', async () => {
      const retiredChains = [await retired(phone), bob] as const
      const fresh = await started()
      const ends = [
        [retiredChains, laptop],
        [[fresh.chain, bob], fresh.browser.device],
      ] as const
      for (const [ended, author] of ends) {
        const after = (await epochAfter(first.epoch, ended, author, await logOf(3))).epoch
        expect((await readAs(before, ended, [first.epoch, after], 3)).hash).toEqual(before.hash)
        await expect(readAs(before, ended, [first.epoch, after], 4)).rejects.toThrow(DeviceEnded)
      }
    })

    it('sign heads only of the log as it was then', async () => {
      const head = async (n: number): Promise<Bytes> =>
        createHead({
          conversation: CONVERSATION,
          log: await logOf(n),
          vaultVersion: 1,
          device: phone,
          epoch: first.epoch,
          readN: n,
          random,
        })
      const epochs = new Map([first.epoch, second].map((epoch) => [epoch.epoch, epoch]))
      const expected = { conversation: CONVERSATION, chain: chains[0], side: 0, epochs } as const

      expect(await openHead(await head(3), expected)).toMatchObject({ n: 3, readN: 3 })
      await expect(openHead(await head(4), expected)).rejects.toThrow(DeviceEnded)
    })
  })

  describe('and signed heads', () => {
    const expected = (epochs: readonly OpenedEpoch[]) =>
      ({
        conversation: CONVERSATION,
        chain: whole,
        side: 0,
        epochs: new Map(epochs.map((epoch) => [epoch.epoch, epoch])),
      }) as const
    const made = async (readN: number, epoch = first.epoch): Promise<Bytes> =>
      createHead({
        conversation: CONVERSATION,
        log: await logOf(5),
        vaultVersion: 2,
        device: laptop,
        epoch,
        readN,
        random,
      })

    it('say what was read to the two people only', async () => {
      for (const readN of [0, 3, 2 ** 40 + 1]) {
        expect(await openHead(await made(readN), expected([first.epoch]))).toMatchObject({ n: 5, readN })
      }
      const closed = { ...first.epoch, secret: null }
      expect((await openHead(await made(3), expected([]))).readN).toBeNull()
      expect((await openHead(await made(3), expected([closed]))).readN).toBeNull()
      await expect(made(3, closed)).rejects.toThrow(HistoryLost)
    })

    it('are of one length, whatever was read', async () => {
      const lengths = await Promise.all([0, 1, 255, 2 ** 33].map(async (readN) => (await made(readN)).length))

      expect(new Set(lengths).size).toBe(1)
    })

    it('are refused when what was read was sealed for another epoch', async () => {
      const other = { ...first.epoch, hash: new Uint8Array(32) }

      await expect(openHead(await made(3), expected([other]))).rejects.toThrow(HeadInvalid)
    })

    it('are refused from a device of nobody, and with any bit flipped', async () => {
      const head = await made(3)

      await expect(openHead(head, { ...expected([first.epoch]), chain: bob })).rejects.toThrow(UnknownDevice)
      for (const altered of flipped(head)) {
        await expect(openHead(altered, expected([first.epoch]))).rejects.toThrow()
      }
    })
  })
})
