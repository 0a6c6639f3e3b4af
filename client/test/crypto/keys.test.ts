import { assert, asyncProperty, property, string, uint8Array } from 'fast-check'
import { describe, expect, it, vi } from 'vitest'

import { createDevice } from '../../src/crypto/device'
import { native, requireSignature, sign } from '../../src/crypto/ed25519'
import { noble } from '../../src/crypto/ed25519_noble'
import { AlteredMessage, LocalBoxBroken, StretchFailed } from '../../src/crypto/errors'
import { createLocalKey, openLocal, sealLocal } from '../../src/crypto/local_box'
import { formatRecoveryCode, parseRecoveryCode } from '../../src/crypto/recovery_code'
import { stretch, type StretchAnswer, type StretchRequest } from '../../src/crypto/stretch'
import { systemRandom, utf8 } from '../../src/wire/bytes'
import { decodeContent, encodeContent } from '../../src/wire/objects'
import { countingRandom, flipped } from './people'

const seedOf = (length: number) => uint8Array({ minLength: length, maxLength: length })

describe('Ed25519', () => {
  it('is the same by WebCrypto and by the fallback', async () => {
    await assert(
      asyncProperty(seedOf(32), uint8Array(), async (seed, message) => {
        const [key, text] = [new Uint8Array(seed), new Uint8Array(message)]
        const publicKey = await native.publicOf(key)
        const signature = await native.signWithSeed(key, text)

        expect(await noble.publicOf(key)).toEqual(publicKey)
        expect(await noble.signWithSeed(key, text)).toEqual(signature)
        expect(await noble.verify(publicKey, text, signature)).toBe(true)
        expect(await native.verify(publicKey, utf8('other'), signature)).toBe(false)
        expect(await noble.verify(publicKey, utf8('other'), signature)).toBe(false)
      }),
      { numRuns: 20 },
    )
  })

  it('refuses every flipped bit of a signature, also with another label', async () => {
    const { key, publicKey } = await createDevice(systemRandom)
    const message = utf8('message')
    const signature = await sign(key, 'head', message)
    const refusal = (): AlteredMessage => new AlteredMessage()

    await requireSignature({ publicKey, what: 'head', message, signature }, refusal)
    await expect(requireSignature({ publicKey, what: 'epoch', message, signature }, refusal)).rejects.toThrow(
      AlteredMessage,
    )
    for (const altered of flipped(signature)) {
      await expect(
        requireSignature({ publicKey, what: 'head', message, signature: altered }, refusal),
      ).rejects.toThrow(AlteredMessage)
      expect(await noble.verify(publicKey, message, altered)).toBe(false)
    }
  })

  it('falls back to a seed in a browser that has none', async () => {
    const { subtle } = crypto
    const randomBytes = crypto.getRandomValues.bind(crypto)
    const without = new Proxy(subtle, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name)
        if (typeof value !== 'function') return value
        return (...given: unknown[]): unknown => {
          if (given.includes('Ed25519')) return Promise.reject(new DOMException('none', 'NotSupportedError'))
          return Reflect.apply(value, target, given)
        }
      },
    })
    vi.stubGlobal('crypto', {
      subtle: without,
      getRandomValues: randomBytes,
    })
    vi.resetModules()
    try {
      const fresh = await import('../../src/crypto/device')
      const device = await fresh.createDevice(countingRandom(7))

      expect(device.key).toEqual({ kind: 'seed', seed: new Uint8Array(32).fill(7) })
      expect(device.publicKey).toEqual(await noble.publicOf(new Uint8Array(32).fill(7)))
    } finally {
      vi.unstubAllGlobals()
    }
  })
})

describe('a local box', () => {
  it('opens for its purpose and key only', async () => {
    const key = await createLocalKey()
    const box = await sealLocal(key, 'draft/1', utf8('not sent yet'), systemRandom)

    expect(await openLocal(key, 'draft/1', box)).toEqual(utf8('not sent yet'))
    await expect(openLocal(key, 'draft/2', box)).rejects.toThrow(LocalBoxBroken)
    await expect(openLocal(await createLocalKey(), 'draft/1', box)).rejects.toThrow(LocalBoxBroken)
    for (const altered of flipped(box)) {
      await expect(openLocal(key, 'draft/1', altered)).rejects.toThrow(LocalBoxBroken)
    }
  })
})

describe('the recovery code', () => {
  it('comes back as it was', () => {
    assert(
      property(seedOf(20), (code) => {
        expect(parseRecoveryCode(formatRecoveryCode(new Uint8Array(code)))).toEqual(new Uint8Array(code))
      }),
    )
  })
})

describe('the content of a message', () => {
  it('comes back as it was', () => {
    assert(
      property(string({ unit: 'grapheme' }), (text) => {
        const content = { kind: 'text', sentAt: 5, text } as const
        expect(decodeContent(encodeContent(content))).toEqual(content)
      }),
    )
  })
})

/** The page's end of a worker, which answers what it is told to. */
class StandInWorker extends EventTarget {
  constructor(private readonly answer: (request: StretchRequest) => StretchAnswer | 'error') {
    super()
  }

  postMessage(request: StretchRequest): void {
    const answer = this.answer(request)
    queueMicrotask(() => {
      this.dispatchEvent(
        answer === 'error' ? new Event('error') : new MessageEvent('message', { data: answer }),
      )
    })
  }
}

function stretchWith(answer: (request: StretchRequest) => StretchAnswer | 'error'): Promise<Uint8Array> {
  const worker = new StandInWorker(answer) as unknown as Worker
  return stretch(worker, { password: utf8('p'), salt: utf8('s') })
}

describe('stretching in a worker', () => {
  it('gives what the worker found', async () => {
    expect(await stretchWith(({ id, password }) => ({ id, stretched: password }))).toEqual(utf8('p'))
  })

  it('says when the worker could not', async () => {
    await expect(stretchWith(({ id }) => ({ id, stretched: null }))).rejects.toThrow(StretchFailed)
    await expect(stretchWith(() => 'error')).rejects.toThrow(StretchFailed)
  })
})
