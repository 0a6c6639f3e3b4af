/** Alice and Bob are friends; each opens tabs of browsers against a server in memory. */
import 'fake-indexeddb/auto'
import { ChatSession } from '../../src/chat/session'
import type { Locks } from '../../src/chat/outbox'
import { type BrowserKeys, createAccount } from '../../src/crypto/account'
import type { Clock } from '../../src/net/clock'
import { type Database, openDatabase } from '../../src/store/database'
import { newUuid, systemRandom } from '../../src/wire/bytes'
import { FakeServer, type StoredConversation } from './fake_network'

const ORIGIN = 'https://chat.example'
/** A second of the program is this many times shorter in the test. */
const HASTE = 100

/** Time that runs faster, so that back-off and confirmations need no waiting. */
export const hastyClock: Clock = {
  now: () => Math.floor(performance.now() * HASTE) + 1_700_000_000_000,
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs / HASTE)
    return () => {
      clearTimeout(timer)
    }
  },
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
  /** Gone without a word. */
  crash(): void
}

export class Browser {
  readonly locks = new BrowserLocks()
  readonly tabs: Tab[] = []

  constructor(
    readonly keys: BrowserKeys,
    readonly database: Database,
    readonly server: FakeServer,
    readonly conversation: string,
  ) {}

  async tab(): Promise<Tab> {
    const { locks, die } = this.locks.tab()
    const session = new ChatSession({
      account: { username: this.keys.name, browser: this.keys },
      database: this.database,
      api: this.server.api(this.keys.name),
      connect: () => this.server.connect(this.keys.name),
      clock: hastyClock,
      random: systemRandom,
      jitter: Math.random,
      locks,
      isOnline: () => true,
    })
    await session.start(this.conversation)
    const tab = {
      session,
      crash: () => {
        die()
        session.stop()
        this.tabs.splice(this.tabs.indexOf(tab), 1)
      },
    }
    this.tabs.push(tab)
    return tab
  }
}

export interface Cast {
  readonly server: FakeServer
  readonly stored: StoredConversation
  readonly alice: Browser
  readonly bob: Browser
}

let casts = 0

export async function cast(): Promise<Cast> {
  casts += 1
  const server = new FakeServer()
  const [aliceName, bobName] = [`alice${casts}`, `bobby${casts}`]
  const stored = await server.befriend(newUuid(systemRandom), aliceName, bobName)
  const alice = await browser(server, aliceName, stored.id)
  const bob = await browser(server, bobName, stored.id)
  return { server, stored, alice, bob }
}

async function browser(server: FakeServer, name: string, conversation: string): Promise<Browser> {
  const account = await createAccount({
    origin: ORIGIN,
    name,
    stretched: systemRandom(32),
    recoveryCode: systemRandom(20),
    now: 1_700_000_000_000,
    random: systemRandom,
  })
  server.people.set(name, { chain: [...account.keys.chain], vault: account.keys.vault })
  return new Browser(account.browser, await openDatabase(name), server, conversation)
}

/** Waits until `holds` does, for at most a few seconds. */
export async function eventually(holds: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 8_000
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
