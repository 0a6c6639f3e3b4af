/** Alice and Bob are friends; each opens tabs of browsers against a server in memory. */
import 'fake-indexeddb/auto'
import { ChatSession } from '../../src/chat/session'
import type { Locks } from '../../src/chat/outbox'
import {
  addDevice,
  type BrowserKeys,
  createAccount,
  keysForDevice,
  rotateWhenOld,
  type Unlocked,
  unlockAccount,
} from '../../src/crypto/account'
import { activeDevices, hasActiveDevice } from '../../src/crypto/key_chain'
import { renewAccount, resetAccount } from '../../src/crypto/key_renewal'
import { passwordDoor } from '../../src/crypto/password'
import { type Api, ApiRefused } from '../../src/net/api'
import type { Clock } from '../../src/net/clock'
import type { SocketLike } from '../../src/net/socket'
import { type Database, openDatabase } from '../../src/store/database'
import { decodeKeys, encodeChainEntries, encodeRenewal, encodeReset } from '../../src/wire/api'
import { type Bytes, equal, newUuid, systemRandom } from '../../src/wire/bytes'
import { FakeServer, type Login, type StoredConversation } from './fake_network'

export const ORIGIN = 'https://chat.example'
const START = 1_700_000_000_000
/** A second of the program is this many times shorter in a test. */
const HASTE = 100

/** Time that runs faster, so that back-off and confirmations need no waiting. */
export function hastyClock(haste = HASTE): Clock {
  return {
    now: () => Math.floor(performance.now() * haste) + START,
    after(delayMs, run) {
      const timer = setTimeout(run, delayMs / haste)
      return () => {
        clearTimeout(timer)
      }
    },
  }
}

/** Locks of one browser. What a dead tab held is free. */
class BrowserLocks {
  readonly held = new Map<string, object>()

  tab(): { readonly locks: Locks; readonly die: () => void } {
    const owner = {}
    return {
      locks: {
        request: async (name, run) => {
          this.held.set(name, owner)
          await run()
          this.held.delete(name)
        },
        query: () => Promise.resolve({ held: [...this.held.keys()].map((name) => ({ name })) }),
      },
      die: () => {
        for (const [name, holder] of this.held) if (holder === owner) this.held.delete(name)
      },
    }
  }
}

export interface Tab {
  readonly session: ChatSession
  /** Killed: whatever it was about to do, it does no more. */
  crash(): void
}

/** What one tab reaches the world with. When the tab is killed, nothing answers it and no timer of it runs out. */
class Reach {
  #killed = false
  readonly #sockets = new Set<SocketLike>()

  clock(clock: Clock): Clock {
    return {
      now: () => clock.now(),
      after: (delayMs, run) =>
        clock.after(delayMs, () => {
          if (!this.#isKilled()) run()
        }),
    }
  }

  kill(): void {
    this.#killed = true
    for (const socket of this.#sockets) socket.close()
  }

  connect(server: FakeServer, login: Login): SocketLike {
    const socket = server.connect(login)
    this.#sockets.add(socket)
    return socket
  }

  api(server: FakeServer, login: Login): Api {
    const api = server.api(login)
    return {
      useCsrfToken: () => undefined,
      request: (...request) => this.#answer(() => api.request(...request)),
    }
  }

  database(database: Database, isFull: () => boolean): Database {
    return new Proxy(database, {
      get: (real, name) => {
        const member = Reflect.get(real, name) as unknown
        if (typeof member !== 'function') return member
        return (...args: unknown[]) => {
          const call = (): unknown => Reflect.apply(member, real, args)
          if (name === 'put' && isFull()) return Promise.reject(outOfRoom())
          if (name === 'transaction' && args[1] === 'readwrite' && isFull())
            return fullTransaction(real, args)
          if (name === 'transaction') return this.#isKilled() ? NO_TRANSACTION : call()
          return this.#answer(call)
        }
      },
    })
  }

  #isKilled(): boolean {
    return this.#killed
  }

  async #answer<T>(ask: () => T): Promise<Awaited<T>> {
    if (this.#isKilled()) return NEVER
    const answer = await ask()
    return this.#isKilled() ? NEVER : answer
  }
}

const NEVER = new Promise<never>(() => undefined)
const NO_TRANSACTION = { store: { get: () => NEVER, getAll: () => NEVER, put: () => NEVER }, done: NEVER }

function outOfRoom(): DOMException {
  return new DOMException('There is no room left.', 'QuotaExceededError')
}

/** As in Chromium: reading goes on, what is put may succeed by itself, and the whole is taken back. */
function fullTransaction(database: object, args: readonly unknown[]): unknown {
  const [stores] = args
  const { store } = (database as Database).transaction(stores as never, 'readonly')
  let refused = false
  const put = (): Promise<void> => {
    refused = true
    return Promise.resolve()
  }
  const done = {
    then: (...to: [() => void, (error: unknown) => void]) =>
      Promise.resolve()
        .then(() => {
          if (refused) throw outOfRoom()
        })
        .then(...to),
  }
  return { store: { get: store.get.bind(store), getAll: store.getAll.bind(store), put }, done }
}

/** Somebody with a password, who signs in to browsers. */
export class Human {
  readonly #stretched = systemRandom(32)
  readonly browsers: Browser[] = []
  #made = 0

  constructor(
    readonly name: string,
    readonly server: FakeServer,
    readonly conversation: string,
    readonly clock = hastyClock(),
  ) {}

  /** The first browser, with all keys. */
  async signUp(): Promise<Browser> {
    const { name, server } = this
    const { keys, browser } = await createAccount({
      origin: ORIGIN,
      name,
      stretched: this.#stretched,
      recoveryCode: systemRandom(20),
      ...chance(),
    })
    server.people.set(name, { chain: [...keys.chain], doors: keys.doors, vault: keys.vault })
    return this.#browser(browser)
  }

  /** One browser more. */
  async signIn(): Promise<Browser> {
    return this.#browser(await this.#newDevice())
  }

  /** In a browser whose keys are there, but were renewed or signed out elsewhere. */
  async signInAgain(browser: Browser): Promise<void> {
    const { device } = browser.keys
    const unlocked = await this.#unlock()
    const stands = hasActiveDevice(unlocked.chain, device.id)
    browser.keys = stands ? await keysForDevice(unlocked, device) : await this.#newDevice()
  }

  /** All keys anew from this browser; whichever others are named are signed out. */
  async renew(from: Browser, revoke: readonly Browser[]): Promise<void> {
    const { device } = from.keys
    const ids = revoke.map(({ keys }) => keys.device.id)
    await this.#untilFirst(async (api) => {
      const unlocked = await this.#unlock()
      const standing = activeDevices(unlocked.chain).filter(({ id }) => ids.some((one) => equal(one, id)))
      const options = { revoke: standing.map(({ id }) => id), device, newStretched: null, ...chance() }
      const renewed = await renewAccount(unlocked, options)
      const proof = { authKey: 'ak1:', newAuthKey: null }
      await api.request('POST', '/api/keys/renew/', encodeRenewal({ ...proof, ...renewed }))
      from.keys = renewed.browser
    })
  }

  /** An account key that grew old is renewed as at a log-in; the vault key stays. */
  async rotate(): Promise<void> {
    await this.#untilFirst(async (api) => {
      const later = { ...chance(), now: chance().now + 91 * 24 * 3600 * 1000 * (1 + this.#made++) }
      const rotated = await rotateWhenOld(await this.#unlock(), later)
      if (rotated === null) throw new Error('The account key is not old.')
      await api.request('POST', '/api/key-chain/', encodeChainEntries(rotated))
    })
  }

  /** Password and recovery code are lost: a new identity, and all browsers signed out. */
  async startFresh(): Promise<Browser> {
    const { name } = this
    const fresh = await this.#untilFirst(async (api) => {
      const keys = decodeKeys(await api.request('GET', '/api/keys/'))
      const reset = await resetAccount({
        origin: ORIGIN,
        name,
        entries: keys.chain,
        vaultVersion: keys.vault.version,
        stretched: this.#stretched,
        recoveryCode: systemRandom(20),
        ...chance(),
      })
      await api.request('POST', '/api/keys/reset/', encodeReset({ authKey: 'ak1:', ...reset }))
      return reset.browser
    })
    return this.#browser(fresh)
  }

  async #newDevice(): Promise<BrowserKeys> {
    return this.#untilFirst(async (api) => {
      const added = await addDevice(await this.#unlock(), chance())
      await api.request('POST', '/api/key-chain/', encodeChainEntries(added))
      return added.browser
    })
  }

  async #unlock(): Promise<Unlocked> {
    const { name, server } = this
    const keys = decodeKeys(await server.api({ name, device: null }).request('GET', '/api/keys/'))
    const door = keys.doors.find(({ kind }) => kind === 'password')
    if (door === undefined) throw new Error('There is no door for the password.')
    const doorKey = await passwordDoor(this.#stretched)
    return unlockAccount({ origin: ORIGIN, name, chain: keys.chain, door, vault: keys.vault, doorKey })
  }

  /** Once more from the start when another browser was faster. */
  async #untilFirst<T>(act: (api: Api) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await act(this.server.api({ name: this.name, device: null }))
      } catch (error) {
        if (!(error instanceof ApiRefused && error.status === 409)) throw error
      }
    }
  }

  async #browser(keys: BrowserKeys): Promise<Browser> {
    const count = this.browsers.length
    const database = await openDatabase(count === 0 ? this.name : `${this.name}#${count}`)
    const browser = new Browser(keys, database, this)
    this.browsers.push(browser)
    return browser
  }
}

function chance(): { readonly now: number; readonly random: (length: number) => Bytes } {
  return { now: START, random: systemRandom }
}

export class Browser {
  readonly locks = new BrowserLocks()
  readonly tabs: Tab[] = []
  /** Nothing more can be put into its database; taking out goes on. */
  isFull = false

  constructor(
    public keys: BrowserKeys,
    readonly database: Database,
    readonly human: Human,
  ) {}

  async tab(): Promise<Tab> {
    const { keys } = this
    const { server, conversation, clock } = this.human
    const { locks, die } = this.locks.tab()
    const login = { name: keys.name, device: keys.device.id }
    const reach = new Reach()
    const session = new ChatSession({
      account: { username: keys.name, browser: keys },
      database: reach.database(this.database, () => this.isFull),
      api: reach.api(server, login),
      connect: () => reach.connect(server, login),
      clock: reach.clock(clock),
      random: systemRandom,
      jitter: Math.random,
      locks,
      isOnline: () => true,
    })
    await session.start(conversation)
    const tab = {
      session,
      crash: () => {
        die()
        reach.kill()
        const place = this.tabs.indexOf(tab)
        if (place >= 0) this.tabs.splice(place, 1)
      },
    }
    this.tabs.push(tab)
    return tab
  }
}

export interface Cast {
  readonly server: FakeServer
  readonly stored: StoredConversation
  /** Their first browsers. */
  readonly alice: Browser
  readonly bob: Browser
}

let casts = 0

export async function cast(clock = hastyClock()): Promise<Cast> {
  casts += 1
  const server = new FakeServer()
  const [aliceName, bobName] = [`alice${casts}`, `bobby${casts}`]
  const stored = await server.befriend(newUuid(systemRandom), aliceName, bobName)
  const alice = await new Human(aliceName, server, stored.id, clock).signUp()
  const bob = await new Human(bobName, server, stored.id, clock).signUp()
  return { server, stored, alice, bob }
}

/** Waits until `holds` does, for at most a few seconds. */
export async function eventually(holds: () => boolean, what: string, patienceMs = 8_000): Promise<void> {
  const deadline = performance.now() + patienceMs
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`It did not happen: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

export function textsOf(tab: Tab): string[] {
  const entries = tab.session.selected?.entries ?? []
  return entries.flatMap(({ shown }) => (shown.kind === 'text' ? [shown.text] : []))
}

export async function write(tab: Tab, text: string): Promise<void> {
  await eventually(() => tab.session.selected !== null, 'the conversation is listed')
  await tab.session.selected?.sender.add(text)
}

/** Waits until nothing is left in the browser's outbox, of any tab. */
/** Each has written and read something, in this order. */
export async function greeted(a: Tab, b: Tab): Promise<void> {
  await write(a, 'hello')
  await eventually(() => textsOf(b).length === 1, 'the first has arrived')
  await write(b, 'hi')
  await eventually(() => [a, b].every((tab) => textsOf(tab).length === 2), 'both have both')
}

export async function emptied({ database }: Browser): Promise<void> {
  let left = Infinity
  const look = async (): Promise<void> => {
    left = await database.count('outbox')
  }
  await eventually(() => {
    void look()
    return left === 0
  }, 'nothing waits any more')
}
