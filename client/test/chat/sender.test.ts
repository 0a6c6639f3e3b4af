import { expect, test } from 'vitest'
import type { Outbox, Outgoing } from '../../src/chat/outbox'
import { Sender } from '../../src/chat/sender'
import { newWriter } from '../../src/crypto/writer_chain'
import { type Ask, ConnectionLost } from '../../src/net/socket'
import { systemRandom } from '../../src/wire/bytes'
import { TestClock } from '../net/test_clock'
import { eventually } from './cast'

function outgoing(clientId: string, sentAt: number): Outgoing {
  return {
    clientId,
    conversation: 'c',
    content: { kind: 'text', sentAt, text: clientId },
    failure: null,
    mayBeStored: false,
  }
}

test('a connection that is back while a failure is being written down is not missed', async () => {
  const asked: string[] = []
  const ask = ((request: { readonly clientId: string }) => {
    asked.push(request.clientId)
    if (request.clientId === 'poison') return Promise.reject(new ConnectionLost(1009))
    return Promise.resolve({ type: 'envelope.stored', n: 1, storedAt: 1 })
  }) as unknown as Ask
  let written: () => void = () => undefined
  const outbox = {
    markFailed: () =>
      new Promise<void>((resolve) => {
        written = resolve
      }),
  } as unknown as Outbox
  const sender = new Sender({
    conversation: 'c',
    ask,
    clock: new TestClock(),
    random: systemRandom,
    jitter: () => 0,
    outbox,
    canSend: () => true,
    lastN: () => 0,
    seal: () => Promise.resolve({ envelope: new Uint8Array(10), epoch: 1, writer: newWriter(systemRandom) }),
    onStored: () => Promise.resolve(),
    fetchEpochs: () => Promise.resolve(),
    requireInLog: () => Promise.resolve(),
    onHalt: () => undefined,
    onChange: () => undefined,
    onProblem: (error) => {
      throw error
    },
  })
  sender.adopt([outgoing('poison', 1), outgoing('next', 2)])
  for (const count of [1, 2, 3]) {
    await eventually(() => asked.length === count, `it is sent for the ${count}. time`)
    await new Promise((resolve) => setImmediate(resolve))
    sender.wake()
  }

  written()

  await eventually(() => asked.includes('next'), 'the next is sent')
  expect(asked).toEqual(['poison', 'poison', 'poison', 'next'])
})
