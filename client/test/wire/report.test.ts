import { expect, it } from 'vitest'
import { fromBase64url } from '../../src/wire/bytes'
import { decodeReported, encodeReport } from '../../src/wire/report'

it('discloses content and key of each message, and nothing else that is known of it', () => {
  const message = {
    n: 7,
    storedAt: 1,
    text: 'hidden',
    content: new Uint8Array([1, 2]),
    frankingKey: new Uint8Array(32),
  }

  const body = encodeReport({ conversation: 'c', category: 'spam', note: 'n', messages: [message] })

  expect(body).toEqual({
    conversation: 'c',
    category: 'spam',
    note: 'n',
    messages: [{ n: 7, content: 'AQI', franking_key: 'A'.repeat(43) }],
  })
  expect(fromBase64url('AQI')).toEqual(message.content)
})

it('takes no answer of another form', () => {
  expect(decodeReported({ report: 3, verified: 0 })).toEqual({ report: 3, verified: 0 })
  expect(() => decodeReported({ report: 3 })).toThrow()
  expect(() => decodeReported({ report: 3, verified: 0, more: 1 })).toThrow()
})
