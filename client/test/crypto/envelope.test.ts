import { beforeAll, describe, expect, it } from 'vitest'

import {
  openEnvelope,
  type EnvelopeContext,
  padme,
  sealEnvelope,
  type SealedEnvelope,
} from '../../src/crypto/envelope'
import { openEpoch } from '../../src/crypto/epoch'
import {
  AlteredMessage,
  ChainBehind,
  ChainForked,
  CryptoRefusal,
  LogMismatch,
  UnknownDevice,
  UnknownEpoch,
  WrongClientId,
  WrongConversation,
  WrongEpoch,
} from '../../src/crypto/errors'
import { logStart } from '../../src/crypto/log'
import { newWriter } from '../../src/crypto/writer_chain'
import { type Cast, cast, CONVERSATION, countingRandom, flipped, NOW } from './people'

const CLIENT_ID = new Uint8Array(16).fill(7)

describe('an envelope', () => {
  let people: Cast
  let sent: SealedEnvelope
  let context: EnvelopeContext

  beforeAll(async () => {
    people = await cast()
    sent = await sealEnvelope({
      epoch: people.epoch,
      side: 0,
      chains: people.chains,
      device: people.alice.browser.device,
      clientId: CLIENT_ID,
      writer: newWriter(countingRandom(200)),
      log: await logStart(CONVERSATION),
      vaultVersion: 1,
      content: { kind: 'text', sentAt: NOW, text: 'Grüße 👋' },
      random: countingRandom(210),
    })
    const bobsEpoch = await openEpoch(people.record, {
      conversation: CONVERSATION,
      previous: null,
      side: 1,
      chains: people.chains,
      accountKeys: people.bob.vault.content.accountKeys,
    })
    context = {
      conversation: CONVERSATION,
      side: 0,
      clientId: CLIENT_ID,
      epochs: new Map([[1, bobsEpoch]]),
      chains: people.chains,
    }
  })

  it('is read by the other person', async () => {
    const opened = await openEnvelope(sent.envelope, context)

    expect(opened.content).toEqual({ kind: 'text', sentAt: NOW, text: 'Grüße 👋' })
    expect(opened.hash).toEqual(sent.hash)
  })

  it('is refused with any single bit flipped', async () => {
    let tried = 0
    for (const altered of flipped(sent.envelope)) {
      await expect(openEnvelope(altered, context)).rejects.toThrow(CryptoRefusal)
      tried += 1
    }
    expect(tried).toBe(sent.envelope.length * 8)
  })

  it('is refused in another conversation', async () => {
    const elsewhere = { ...context, conversation: new Uint8Array(16) }

    await expect(openEnvelope(sent.envelope, elsewhere)).rejects.toThrow(WrongConversation)
  })

  it('is refused under another client id', async () => {
    const replayed = { ...context, clientId: new Uint8Array(16) }

    await expect(openEnvelope(sent.envelope, replayed)).rejects.toThrow(WrongClientId)
  })

  it('is refused as the message of the other person', async () => {
    await expect(openEnvelope(sent.envelope, { ...context, side: 1 })).rejects.toThrow(UnknownDevice)
  })

  it('is refused without its epoch, and under another record of that epoch', async () => {
    const other = { ...people.epoch, hash: new Uint8Array(32) }

    await expect(openEnvelope(sent.envelope, { ...context, epochs: new Map() })).rejects.toThrow(UnknownEpoch)
    await expect(openEnvelope(sent.envelope, { ...context, epochs: new Map([[1, other]]) })).rejects.toThrow(
      WrongEpoch,
    )
  })

  it('is refused when the secret of the epoch is another', async () => {
    const other = { ...people.epoch, secret: new Uint8Array(32) }

    await expect(openEnvelope(sent.envelope, { ...context, epochs: new Map([[1, other]]) })).rejects.toThrow(
      AlteredMessage,
    )
  })

  it('shows that its sender was given another key chain of the reader', async () => {
    const [alice, bob] = people.chains
    const forked = { ...bob, hashes: bob.hashes.map(() => new Uint8Array(32)) }
    const behind = { ...bob, hashes: bob.hashes.slice(0, 1) }

    await expect(openEnvelope(sent.envelope, { ...context, chains: [alice, forked] })).rejects.toThrow(
      ChainForked,
    )
    await expect(openEnvelope(sent.envelope, { ...context, chains: [alice, behind] })).rejects.toThrow(
      ChainBehind,
    )
  })

  it('shows that its sender was given another log', async () => {
    const knownHash = (): Uint8Array<ArrayBuffer> => new Uint8Array(32)

    await expect(openEnvelope(sent.envelope, { ...context, knownHash })).rejects.toThrow(LogMismatch)
    await expect(openEnvelope(sent.envelope, { ...context, n: 0 })).rejects.toThrow(LogMismatch)
  })
})

describe('padding', () => {
  it('costs at most 12 % and never shortens', () => {
    const lengths = Array.from({ length: 70_000 }, (_, length) => length)
    const wrong = lengths.filter((length) => {
      const padded = padme(length)
      return padded < length || padded > length * 1.12 + 1 || padme(padded) !== padded
    })

    expect(wrong).toEqual([])
  })
})
