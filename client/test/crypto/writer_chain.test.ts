import { beforeAll, describe, expect, it } from 'vitest'

import { sealEnvelope, type SealedEnvelope } from '../../src/crypto/envelope'
import { WriterBroken } from '../../src/crypto/errors'
import { logStart } from '../../src/crypto/log'
import {
  advanceWriters,
  joinWriters,
  newWriter,
  NO_WRITERS,
  requireFromFirst,
  type WriterSpans,
} from '../../src/crypto/writer_chain'
import { cast, CONVERSATION, countingRandom, NOW } from './people'

let sent: SealedEnvelope[]

/** Two tabs of Alice that take turns: 1, 3 and 5 are of the one, 2 and 4 of the other. */
beforeAll(async () => {
  const { epoch, chains, alice } = await cast()
  const random = countingRandom(1)
  const writers = [newWriter(random), newWriter(random)]
  sent = []
  for (let n = 0; n < 5; n += 1) {
    const sealed = await sealEnvelope({
      epoch,
      side: 0,
      chains,
      device: alice.browser.device,
      clientId: random(16),
      writer: writers[n % 2] ?? newWriter(random),
      log: await logStart(CONVERSATION),
      vaultVersion: 1,
      content: { kind: 'text', sentAt: NOW, text: String(n) },
      random,
    })
    writers[n % 2] = sealed.writer
    sent.push(sealed)
  }
})

function readPage(envelopes: readonly SealedEnvelope[], fromFirst: boolean): WriterSpans {
  return envelopes.reduce(
    (spans, { header, hash }) => advanceWriters(spans, header, hash, { fromFirst }),
    NO_WRITERS,
  )
}

function without(index: number): SealedEnvelope[] {
  return sent.toSpliced(index, 1)
}

describe('writers', () => {
  it('are followed from the first message', () => {
    const spans = readPage(sent, true)

    expect([...spans.values()].map(({ firstSeq, lastSeq }) => [firstSeq, lastSeq])).toEqual([
      [1, 3],
      [1, 2],
    ])
    requireFromFirst(spans)
  })

  it('show a message that is missing, repeated or out of order', () => {
    const [first, second, third] = sent
    if (first === undefined || second === undefined || third === undefined) throw new Error('Five were sent.')

    for (const index of [0, 1, 2]) expect(() => readPage(without(index), true)).toThrow(WriterBroken)
    expect(() => readPage([first, first], true)).toThrow(WriterBroken)
    expect(() => readPage([first, third, first], true)).toThrow(WriterBroken)
  })

  it('show a message of another device', () => {
    const [first, , third] = sent
    if (first === undefined || third === undefined) throw new Error('Five were sent.')
    const foreign = { ...third, header: { ...third.header, device: new Uint8Array(16) } }

    expect(() => readPage([first, foreign], true)).toThrow(WriterBroken)
  })

  it('join page by page, backwards, to what one pass gives', () => {
    for (let cut = 0; cut <= sent.length; cut += 1) {
      const joined = joinWriters(readPage(sent.slice(0, cut), true), readPage(sent.slice(cut), false))
      expect(new Map([...joined].sort())).toEqual(new Map([...readPage(sent, true)].sort()))
    }
  })

  it('show a message that is missing between two pages, or before the oldest', () => {
    const newer = readPage(sent.slice(3), false)

    expect(() => joinWriters(readPage(sent.slice(0, 2), true), newer)).toThrow(WriterBroken)
    expect(() => {
      requireFromFirst(newer)
    }).toThrow(WriterBroken)
  })
})
