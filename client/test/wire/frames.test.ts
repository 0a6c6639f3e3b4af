import { describe, expect, it } from 'vitest'

import { type Bytes, MalformedData } from '../../src/wire/bytes'
import { type ClientFrame, decodeServerFrame, encodeClientFrame } from '../../src/wire/frames'
import { toWire } from '../../src/wire/json'
import { load } from '../vectors'

interface FrameVectors {
  readonly valid: readonly { readonly type: string }[]
  readonly invalid: readonly unknown[]
}

const vectors = load('frames') as { readonly client: FrameVectors; readonly server: FrameVectors }
const conversation = '0d4e2a5c-9b7f-4c11-8a3e-6f1d2c3b4a59'
const clientId = 'f47ac10b-58cc-4372-a567-0e02b2c3d479'
const someBytes: Bytes = Uint8Array.from({ length: 40 }, (_, index) => index)

const sent: readonly ClientFrame[] = [
  { type: 'conversations.list', ref: 1, before: null },
  { type: 'conversations.list', ref: Number.MAX_SAFE_INTEGER, before: conversation },
  { type: 'epochs.get', ref: 1, conversation, after: 0 },
  { type: 'epoch.append', ref: 1, conversation, epoch: 1, record: someBytes },
  { type: 'chain.get', ref: 1, conversation, whose: 'own', after: 0 },
  { type: 'chain.get', ref: 1, conversation, whose: 'peer', after: 3 },
  { type: 'envelope.send', ref: 1, conversation, clientId, epoch: 1, envelope: someBytes },
  { type: 'envelopes.lookup', ref: 1, conversation, clientIds: [clientId] },
  { type: 'history.get', ref: 1, conversation, direction: 'before', n: 0, limit: 50 },
  { type: 'history.get', ref: 1, conversation, direction: 'after', n: 7, limit: 1 },
  { type: 'head.set', ref: 1, conversation, head: someBytes },
  { type: 'ping', ref: 1 },
]

describe('a frame of the browser', () => {
  it('is written as the vectors say, each type', () => {
    expect(sent.map((frame) => JSON.parse(encodeClientFrame(frame)) as unknown)).toEqual(vectors.client.valid)
  })
})

describe('a frame of the server', () => {
  it.each(vectors.server.valid)('is read whole: $type', (frame) => {
    const decoded = decodeServerFrame(JSON.stringify(frame))

    expect(toWire(decoded)).toEqual(frame)
  })

  it('is refused when a field is missing, foreign or of another type', () => {
    expect(vectors.server.invalid.length).toBeGreaterThan(100)
    for (const frame of vectors.server.invalid) {
      expect(() => decodeServerFrame(JSON.stringify(frame)), JSON.stringify(frame)).toThrow(MalformedData)
    }
  })

  it('is refused when it is no JSON', () => {
    for (const text of ['', '{', '{"type":"pong","ref":1}x', 'null']) {
      expect(() => decodeServerFrame(text)).toThrow(MalformedData)
    }
  })
})
