import 'fake-indexeddb/auto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { VaultKeeper } from '../../src/chat/vault_keeper'
import { type BrowserKeys, createAccount } from '../../src/crypto/account'
import { VaultRolledBack } from '../../src/crypto/errors'
import { pinOf, positionOf, withPin, withPreferences } from '../../src/crypto/vault'
import { type Api, ApiRefused, ApiUnreachable } from '../../src/net/api'
import { type Database, openDatabase } from '../../src/store/database'
import { decodeVault, encodeVault, type SealedVault } from '../../src/wire/api'
import { type Bytes, systemRandom } from '../../src/wire/bytes'
import type { Pin } from '../../src/wire/objects'

const BROWSERS = 3
const filled = (length: number, value: number): Bytes => new Uint8Array(length).fill(value)
const account = createAccount({
  origin: 'https://chat.example',
  name: 'alice',
  stretched: systemRandom(32),
  recoveryCode: systemRandom(20),
  now: 1_700_000_000_000,
  random: systemRandom,
})

type Loss = 'none' | 'request' | 'answer'

/** The one vault that all browsers write, and what is lost on the way to it. */
class VaultServer {
  loss: Loss = 'none'

  constructor(public vault: SealedVault) {}

  readonly api: Api = {
    useCsrfToken: () => undefined,
    request: (method, _path, body) => Promise.resolve().then(() => this.#answer(method, body)),
  }

  #answer(method: string, body: unknown): unknown {
    const { loss } = this
    this.loss = 'none'
    if (loss === 'request') throw new ApiUnreachable('It did not arrive.')
    if (method === 'PUT') this.#write(decodeVault(body))
    if (loss === 'answer') throw new ApiUnreachable('The answer did not arrive.')
    return encodeVault(this.vault)
  }

  #write(vault: SealedVault): void {
    if (vault.version !== this.vault.version + 1)
      throw new ApiRefused(409, 'vault_conflict', 'Another was first.', {}, null)
    this.vault = vault
  }
}

interface Desk {
  readonly server: VaultServer
  readonly keepers: readonly VaultKeeper[]
  readonly problems: unknown[]
}

async function desk(): Promise<Desk> {
  const { keys, browser } = await account
  const server = new VaultServer(keys.vault)
  const problems: unknown[] = []
  const databases = await Promise.all(Array.from({ length: BROWSERS }, newDatabase))
  const keepers = databases.map((database) => keeper(server, { keys: browser, database }, problems))
  for (const one of keepers) await one.load()
  return { server, keepers, problems }
}

/** Writes only when it is told to. */
function keeper(
  { api }: VaultServer,
  browser: { readonly keys: BrowserKeys; readonly database: Database },
  problems: unknown[],
): VaultKeeper {
  const clock = { now: () => 0, after: () => () => undefined }
  const onProblem = (one: unknown): void => {
    problems.push(one)
  }
  return new VaultKeeper({ api, clock, random: systemRandom, ...browser, onProblem })
}

let databases = 0

/** Of a browser of its own. */
function newDatabase(): Promise<Database> {
  databases += 1
  return openDatabase(`keeper${databases}`)
}

/** Everybody has written and read all. */
async function settle({ server, keepers }: Desk): Promise<void> {
  server.loss = 'none'
  for (const one of keepers) await one.flush()
  for (const one of keepers) await one.load()
}

function pinAt(friend: number, seq: number, verifiedAt: number): Pin {
  const identity = filled(32, friend)
  return {
    conversation: filled(16, friend),
    identityPublic: identity,
    fingerprint: identity,
    verifiedAt,
    seq,
    head: filled(32, seq),
  }
}

/** Says when numbers were compared, 0 for never; the place on the chain stays. */
function decide(keeper: VaultKeeper, friend: number, verifiedAt: number): void {
  keeper.change((content) => {
    const pin = pinOf(content, filled(16, friend)) ?? pinAt(friend, 1, 0)
    return withPin(content, { ...pin, verifiedAt })
  })
}

/** Sees more of a friend's chain. */
function follow(keeper: VaultKeeper, friend: number, seq: number): void {
  keeper.change((content) => {
    const pin = pinOf(content, filled(16, friend))
    if (pin !== undefined && pin.seq >= seq) return content
    return withPin(content, pinAt(friend, seq, pin?.verifiedAt ?? 0))
  })
}

function share(keeper: VaultKeeper, sharesRead: boolean): void {
  keeper.change((content) => withPreferences(content, { ...content.preferences, sharesRead }))
}

function read(keeper: VaultKeeper, friend: number, n: number): void {
  keeper.notePosition({ conversation: filled(16, friend), checkedN: n, logHash: filled(32, n), readN: n })
}

const browser = fc.nat(BROWSERS - 1)
const friend = fc.nat(BROWSERS - 1)
const act = fc.oneof(
  fc.record({ kind: fc.constant('decide' as const), browser, compared: fc.boolean() }),
  fc.record({ kind: fc.constant('follow' as const), browser, friend, seq: fc.integer({ min: 2, max: 40 }) }),
  fc.record({ kind: fc.constant('share' as const), yes: fc.boolean() }),
  fc.record({ kind: fc.constant('read' as const), browser, friend, more: fc.integer({ min: 1, max: 9 }) }),
  fc.record({ kind: fc.constant('flush' as const), browser }),
  fc.record({ kind: fc.constant('load' as const), browser }),
  fc.record({ kind: fc.constant('lose' as const), loss: fc.constantFrom<Loss>('request', 'answer') }),
)

describe('browsers that write one vault', () => {
  test('keep that a comparison was taken back, also when the answer about the comparison was lost', async () => {
    const all = await desk()
    const [mine] = all.keepers
    if (mine === undefined) raise()
    decide(mine, 0, 5)
    all.server.loss = 'answer'
    await mine.flush()

    decide(mine, 0, 0)
    await settle(all)

    for (const { content } of all.keepers) expect(pinOf(content, filled(16, 0))?.verifiedAt).toBe(0)
  })

  test('keep that one took a comparison back while another waited to write its own', async () => {
    const all = await desk()
    const [mine, theirs] = all.keepers
    if (mine === undefined || theirs === undefined) raise()
    decide(mine, 0, 5)
    await settle(all)
    decide(mine, 0, 7)
    decide(theirs, 0, 0)
    await theirs.flush()

    await mine.load()
    await settle(all)

    for (const { content } of all.keepers) expect(pinOf(content, filled(16, 0))?.verifiedAt).toBe(0)
  })

  test('keep the last word of each on what only it decides, and the furthest of all they saw', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(act, { minLength: 5, maxLength: 60 }), async (acts) => {
        const all = await desk()
        const { keepers, server, problems } = all
        const decided = new Map<number, number>()
        const seen = new Map<number, number>()
        const checked = new Map<string, number>()
        let sharesRead = true
        let now = 0
        const at = (index: number): VaultKeeper => keepers[index] ?? raise()
        for (const one of acts) {
          now += 1
          switch (one.kind) {
            case 'decide':
              // Each browser is the one in which its person looks at one friend.
              decide(at(one.browser), one.browser, one.compared ? now : 0)
              decided.set(one.browser, one.compared ? now : 0)
              break
            case 'follow':
              follow(at(one.browser), one.friend, one.seq)
              seen.set(one.friend, Math.max(one.seq, seen.get(one.friend) ?? 0))
              break
            case 'share':
              share(at(0), one.yes)
              sharesRead = one.yes
              break
            case 'read': {
              const place = `${one.browser}/${one.friend}`
              const n = (checked.get(place) ?? 0) + one.more
              checked.set(place, n)
              read(at(one.browser), one.friend, n)
              break
            }
            case 'flush':
              await at(one.browser).flush()
              break
            case 'load':
              await at(one.browser)
                .load()
                .catch((error: unknown) => {
                  if (!(error instanceof ApiUnreachable)) throw error
                })
              break
            case 'lose':
              server.loss = one.loss
          }
        }

        await settle(all)

        expect(problems).toEqual([])
        const [content] = keepers.map((one) => one.content)
        if (content === undefined) raise()
        for (const one of keepers) expect(one.content).toEqual(content)
        for (const [friend, verifiedAt] of decided)
          expect(pinOf(content, filled(16, friend))?.verifiedAt).toBe(verifiedAt)
        for (const [friend, seq] of seen) expect(pinOf(content, filled(16, friend))?.seq).toBe(seq)
        for (const [place, n] of checked)
          expect(positionOf(content, filled(16, Number(place.at(-1))))?.readN).toBeGreaterThanOrEqual(n)
        expect(content.preferences).toEqual({ sharesRead })
        expect(content.accountKeys).toHaveLength(1)
      }),
      { numRuns: Number(process.env['VAULT_RUNS'] ?? 150) },
    )
  })
})

function raise(): never {
  throw new Error('There is no such browser.')
}

test('a page that is opened later takes no older vault than this browser has seen', async () => {
  const { keys, browser } = await account
  const server = new VaultServer(keys.vault)
  const here = { keys: browser, database: await newDatabase() }
  const before = keeper(server, here, [])
  await before.load()
  before.change((content) => withPreferences(content, { sharesRead: false }))
  await before.flush()
  expect(server.vault.version).toBe(2)

  server.vault = keys.vault

  await expect(keeper(server, here, []).load()).rejects.toThrow(VaultRolledBack)
})
