import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { checkBuild, type BuildCheckInput } from '../../src/ui/build_check'
import { ownWorkerAddress } from '../../src/ui/start_worker'
import { type Bytes, utf8 } from '../../src/wire/bytes'
import { decodeManifest, groupedFingerprint, shortFingerprint } from '../../src/wire/build'

const FILES = new Map([
  ['securechat/a.js', utf8('alert(1)')],
  ['securechat/b.css', utf8('p{}')],
])
const ADDRESSES = new Map([
  ['securechat/a.js', '/static/securechat/a.0123456789ab.js'],
  ['securechat/b.css', '/static/securechat/b.0123456789ab.css'],
])

function manifest(): Bytes {
  const files: Record<string, unknown> = {}
  for (const [name, bytes] of FILES)
    files[name] = { sha384: createHash('sha384').update(bytes).digest('base64'), size: bytes.length }
  return utf8(JSON.stringify({ format: 'securechat-build/1', version: '1.2.3', files }))
}

function input(served: ReadonlyMap<string, Bytes>, loaded: readonly string[] = []): BuildCheckInput {
  return {
    read: (address) => {
      const found = served.get(address)
      return found === undefined ? Promise.reject(new TypeError('404')) : Promise.resolve(found)
    },
    manifestAddress: '/static/manifest.json',
    addresses: ADDRESSES,
    loaded,
    onProgress: () => undefined,
  }
}

function honest(): Map<string, Bytes> {
  const served = new Map([...FILES].map(([name, bytes]) => [ADDRESSES.get(name) ?? '', bytes]))
  return served.set('/static/manifest.json', manifest())
}

test('what is served as it was built matches, and the fingerprint is the hash of the manifest', async () => {
  const check = await checkBuild(input(honest(), ['/static/securechat/a.0123456789ab.js']))

  expect(check).toEqual({
    fingerprint: createHash('sha256').update(manifest()).digest('hex'),
    version: '1.2.3',
    total: 2,
    different: [],
    foreign: [],
  })
})

test('every changed byte and every missing file is named', async () => {
  const address = '/static/securechat/a.0123456789ab.js'
  const original = FILES.get('securechat/a.js') ?? new Uint8Array()
  for (let at = 0; at < original.length; at += 1) {
    const changed = original.slice()
    changed[at] = (changed[at] ?? 0) ^ 1
    const check = await checkBuild(input(honest().set(address, changed)))
    expect(check.different).toEqual(['securechat/a.js'])
  }
  const without = honest()
  without.delete(address)
  expect((await checkBuild(input(without))).different).toEqual(['securechat/a.js'])
})

test('a script that the manifest does not know is named', async () => {
  const check = await checkBuild(input(honest(), ['/static/evil.js', 'https://evil.example/x.js']))

  expect(check.foreign).toEqual(['/static/evil.js', 'https://evil.example/x.js'])
})

test('what is no manifest is refused', () => {
  for (const value of [
    null,
    {},
    { format: 'other', version: '1', files: {} },
    { format: 'securechat-build/1', version: '1', files: { a: { sha384: 1, size: 1 } } },
  ])
    expect(() => decodeManifest(value)).toThrow('expected')
})

test('a whole fingerprint is written in groups of four', () => {
  expect(groupedFingerprint('0123456789abcdef'.repeat(4))).toBe(
    Array(4).fill('0123 4567 89ab cdef').join(' '),
  )
})

test('a fingerprint in short is four groups of four', () => {
  expect(shortFingerprint('0123456789abcdef'.repeat(4))).toBe('0123-4567-89ab-cdef')
})

test('the address of our own worker is let through, and no other', () => {
  const origin = 'https://chat.example'
  const own = '/static/securechat/argon2-worker.0123456789ab.js'

  expect(ownWorkerAddress(own, origin)).toBe(`${origin}${own}`)
  expect(ownWorkerAddress('/static/securechat/argon2-worker.js', origin)).toContain(origin)
  for (const address of [
    '/static/securechat/chat.js',
    `https://evil.example${own}`,
    `//evil.example${own}`,
    `${own}?x`,
    `/x${own}`,
    `${own}/../chat.js`,
    'data:text/javascript,1',
    `blob:${origin}/1`,
  ])
    expect(() => ownWorkerAddress(address, origin)).toThrow(TypeError)
})
