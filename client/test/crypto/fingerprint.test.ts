import { assert, property, string, uint8Array } from 'fast-check'
import { describe, expect, it } from 'vitest'

import { fingerprintText, parseFingerprint, qrText, readQrText } from '../../src/crypto/fingerprint'
import { toBase64url } from '../../src/wire/bytes'

const someFingerprint = uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => new Uint8Array(bytes))

describe('a fingerprint in a link', () => {
  it('comes back as it was', () => {
    assert(
      property(someFingerprint, (fingerprint) => {
        const text = fingerprintText(fingerprint)
        expect(text).toMatch(/^[\w-]{43}$/)
        expect(parseFingerprint(text)).toEqual(fingerprint)
      }),
    )
  })

  it('is nothing else', () => {
    const text = 'A'.repeat(43)

    for (const other of [
      '',
      '#',
      `#${text}`,
      `${text}=`,
      ` ${text}`,
      text.slice(1),
      `${text}A`,
      `${text.slice(1)}B`,
      `${text.slice(1)}+`,
      toBase64url(new Uint8Array(31)),
      toBase64url(new Uint8Array(33)),
    ]) {
      expect(parseFingerprint(other), other).toBeNull()
    }
    expect(parseFingerprint(text)).toEqual(new Uint8Array(32))
  })

  it('is null for whatever was typed', () => {
    assert(
      property(string({ unit: 'binary' }), (text) => {
        const read = parseFingerprint(text)
        if (read !== null) expect(fingerprintText(read)).toBe(text)
      }),
    )
  })
})

describe('the code of a safety number', () => {
  it('says who shows it to whom', () => {
    assert(
      property(someFingerprint, someFingerprint, (own, peer) => {
        const text = qrText({ own, peer })
        expect(text).toMatch(/^securechat:1:[\w-]{43}:[\w-]{43}$/)
        expect(readQrText(text)).toEqual({ shower: own, other: peer })
      }),
    )
  })

  it('is told from any other code', () => {
    const half = 'A'.repeat(43)

    for (const other of [
      '',
      'https://chat.example/add/bob',
      `securechat:2:${half}:${half}`,
      `SECURECHAT:1:${half}:${half}`,
      `securechat:1:${half}`,
      `securechat:1:${half}:`,
      `securechat:1::${half}`,
      `securechat:1:${half}:${half}:`,
      `securechat:1:${half}:${half}:${half}`,
      `securechat:1:${half}:${half.slice(1)}`,
      ` securechat:1:${half}:${half}`,
      `securechat:1:${half}:${half}\n`,
    ]) {
      expect(readQrText(other), other).toBeNull()
    }
    expect(readQrText(`securechat:1:${half}:${half}`)).not.toBeNull()
  })
})
