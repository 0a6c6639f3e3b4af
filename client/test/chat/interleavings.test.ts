import fc from 'fast-check'
import { afterEach, expect, test } from 'vitest'
import type { Entry } from '../../src/chat/timeline'
import { loadPin } from '../../src/store/pins'
import { type Browser, cast, eventually, greeted, type Human, type Tab, textsOf, write } from './cast'
import type { FakeServer } from './fake_network'

const WHO = fc.nat(1)
/** Two tabs of the first browser, and one of the second while there is one. */
const PLACES = 3
const PLACE = fc.nat(PLACES - 1)
const PATIENCE_MS = 20_000

/** What may happen between two people, in any order. */
const act = fc.oneof(
  { weight: 10, arbitrary: fc.record({ kind: fc.constant('write' as const), who: WHO, place: PLACE }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('read' as const), who: WHO, place: PLACE }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('cut' as const), who: WHO }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('stall' as const), who: WHO, ms: fc.nat(120) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('kill' as const), who: WHO, place: PLACE }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('signIn' as const), who: WHO }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('revoke' as const), who: WHO }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('renew' as const), who: WHO }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('rotate' as const), who: WHO }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('compare' as const), who: WHO, match: fc.boolean() }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('fault' as const),
      fault: fc.constantFrom('before' as const, 'after' as const, 'late' as const),
      type: fc.constantFrom(
        'envelope.send',
        'epoch.append',
        'epochs.get',
        'chain.get',
        'history.get',
        'head.set',
        'envelopes.lookup',
      ),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('vaultFault' as const),
      when: fc.constantFrom('before' as const, 'after' as const),
      method: fc.constantFrom('GET' as const, 'PUT' as const),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('refuse' as const),
      code: fc.constantFrom('stale_epoch', 'writer_gap', 'too_fast', 'unavailable'),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(60) }) },
)

type Act = typeof act extends fc.Arbitrary<infer T> ? T : never

const started: Human[] = []

afterEach(() => {
  for (const { browsers } of started.splice(0))
    for (const { tabs } of browsers) for (const tab of [...tabs]) tab.crash()
})

/** Somebody's browsers and tabs, and what they are to find in the end. */
class Person {
  second: Browser | null = null
  /** What was said last of the friend's numbers, in the first browser. */
  compared = false
  readonly seen: Tab[] = []
  readonly #places: (Tab | null)[] = [null, null, null]

  constructor(
    readonly human: Human,
    readonly first: Browser,
  ) {}

  get tabs(): Tab[] {
    return this.#places.filter((tab) => tab !== null)
  }

  at(place: number): Tab | null {
    return this.#places[place] ?? null
  }

  /** Kills what is there, and opens it again. */
  async open(place: number): Promise<void> {
    this.#places[place]?.crash()
    const browser = place < PLACES - 1 ? this.first : this.second
    const tab = browser === null ? null : await browser.tab()
    this.#places[place] = tab
    if (tab !== null) this.seen.push(tab)
  }

  async openAll(): Promise<void> {
    for (let place = 0; place < PLACES; place += 1) await this.open(place)
  }

  /** The first browser takes the second off the account. */
  async revoke(): Promise<void> {
    if (this.second === null) return
    await this.human.renew(this.first, [this.second])
    this.second = null
    this.#places[PLACES - 1] = null
    await this.openAll()
  }

  /** All keys are renewed, and the second browser is given the password again. */
  async renew(): Promise<void> {
    await this.human.renew(this.first, [])
    if (this.second !== null) await this.human.signInAgain(this.second)
    await this.openAll()
  }

  async compare(match: boolean): Promise<void> {
    const room = this.at(0)?.session.selected
    if (room?.phase !== 'ready') return
    await (match ? room.theyMatch() : room.unverify())
    this.compared = room.trust === 'verified'
  }
}

/** A message, and which tab it was written in; whether it must arrive is up to what becomes of the browser. */
interface Written {
  readonly text: string
  readonly tab: Tab
  readonly browser: Browser
}

class Run {
  readonly written: Written[] = []
  /** Browsers that were signed out may have taken what waited in them along. */
  readonly lost = new Set<Browser>()

  constructor(
    readonly people: readonly [Person, Person],
    readonly server: FakeServer,
  ) {}

  get tabs(): Tab[] {
    return this.people.flatMap(({ tabs }) => tabs)
  }

  async carryOut(one: Act): Promise<void> {
    const person = 'who' in one ? this.people[one.who === 0 ? 0 : 1] : this.people[0]
    switch (one.kind) {
      case 'write':
        await this.#write(person, one.place)
        break
      case 'read':
        person.at(one.place)?.session.selected?.markRead()
        break
      case 'cut':
        this.server.cut(person.human.name)
        break
      case 'stall': {
        const over = new Promise<void>((resolve) => setTimeout(resolve, one.ms))
        this.server.hold = (name) => (name === person.human.name ? over : null)
        break
      }
      case 'kill':
        await person.open(one.place)
        break
      case 'signIn':
        if (person.second !== null) break
        person.second = await person.human.signIn()
        await person.open(PLACES - 1)
        break
      case 'revoke':
        if (person.second !== null) this.lost.add(person.second)
        await person.revoke()
        break
      case 'renew':
        await person.renew()
        break
      case 'rotate':
        await person.human.rotate()
        break
      case 'compare':
        await person.compare(one.match)
        break
      case 'fault': {
        const once = onlyOnce()
        const at = one.fault === 'after' ? 'after' : 'before'
        const effect = one.fault === 'late' ? 'late' : 'break'
        this.server.fault = (when, type) => (when === at && type === one.type && once() ? effect : 'pass')
        break
      }
      case 'vaultFault': {
        const once = onlyOnce()
        this.server.apiFault = (when, method, path) =>
          when === one.when && method === one.method && path === '/api/vault/' && once() ? 'break' : 'pass'
        break
      }
      case 'refuse': {
        const once = onlyOnce()
        this.server.refuse = (type) =>
          type === 'envelope.send' && once() ? { code: one.code, retryAfter: null } : null
        break
      }
      case 'wait':
        await new Promise((resolve) => setTimeout(resolve, one.ms))
    }
  }

  async #write(person: Person, place: number): Promise<void> {
    const tab = person.at(place)
    const browser = place < PLACES - 1 ? person.first : person.second
    if (tab === null || browser === null) return
    const text = `m${this.written.length}`
    await write(tab, text)
    this.written.push({ text, tab, browser })
  }

  mend(): void {
    this.server.fault = () => 'pass'
    this.server.apiFault = () => 'pass'
    this.server.refuse = () => null
    this.server.hold = () => null
  }

  /** Every message that no signed-out browser took along is everywhere, and nothing waits. */
  async settle(): Promise<void> {
    const due = this.written.filter(({ browser }) => !this.lost.has(browser)).map(({ text }) => text)
    const complete = (tab: Tab): boolean => {
      const texts = new Set(textsOf(tab))
      return isReady(tab) && due.every((text) => texts.has(text)) && waiting(tab) === 0
    }
    await eventually(() => this.tabs.every(complete), 'all messages are everywhere', PATIENCE_MS)
  }

  requireOneLog(rows: number): void {
    const [log = []] = this.tabs.map(textsOf)
    for (const tab of this.tabs) expect(textsOf(tab)).toEqual(log)
    expect(log).toHaveLength(rows)
    expect(new Set(log).size).toBe(rows)
    for (const writer of new Set(this.written.map(({ tab }) => tab))) {
      const order = this.written.filter(({ tab, text }) => tab === writer && log.includes(text))
      expect(log.filter((text) => order.some((one) => one.text === text))).toEqual(
        order.map(({ text }) => text),
      )
    }
  }

  requireCalm(): void {
    for (const { seen, tabs } of this.people)
      for (const tab of seen) {
        const { trouble, selected } = tab.session
        if (tabs.includes(tab)) expect(trouble).toBeNull()
        else expect(['signed_out', 'keys_missing', 'keys_renewed']).toContain(trouble?.kind ?? 'signed_out')
        expect(selected?.alarm ?? null).toBeNull()
        expect(selected?.entries.filter(({ shown }) => shown.kind !== 'text') ?? []).toEqual([])
      }
  }

  /** What a person said of the numbers, and all keys, are there for whichever browser signs in next. */
  async requireVault(person: Person, rows: number): Promise<void> {
    const { first, human, compared } = person
    let saved = false
    await eventually(
      () => {
        void loadPin(first.database, human.conversation).then((pin) => {
          saved = pin !== undefined && pin.savedIn !== null
        })
        return saved
      },
      'the vault has all decisions',
      PATIENCE_MS,
    )
    const fresh = await (await human.signIn()).tab()
    person.seen.push(fresh)
    await eventually(
      () => isReady(fresh) && textsOf(fresh).length === rows,
      'the next browser reads everything',
      PATIENCE_MS,
    )
    const trust = compared ? 'verified' : 'unverified'
    expect([fresh, ...person.tabs].slice(0, 3).map(({ session }) => session.selected?.trust)).toEqual([
      trust,
      trust,
      trust,
    ])
  }
}

function isReady({ session }: Tab): boolean {
  return session.selected?.phase === 'ready'
}

function waiting({ session }: Tab): number {
  return session.selected?.sender.items.length ?? 0
}

function onlyOnce(): () => boolean {
  let left = 1
  return () => left-- > 0
}

test(
  'whatever breaks in between, every message arrives once, in one order, nobody is alarmed, and no choice is lost',
  { timeout: 300_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(act, { minLength: 8, maxLength: 45 }), async (acts) => {
        const { alice, bob, server, stored } = await cast()
        started.push(alice.human, bob.human)
        const people = [new Person(alice.human, alice), new Person(bob.human, bob)] as const
        for (const person of people) await person.openAll()
        const run = new Run(people, server)
        for (const one of acts) await run.carryOut(one)
        run.mend()

        await run.settle()

        const rows = stored.rows.length
        await eventually(() => run.tabs.every((tab) => textsOf(tab).length === rows), 'all have all')
        run.requireOneLog(rows)
        run.requireCalm()
        for (const person of people) await run.requireVault(person, rows)
        run.requireCalm()
        for (const { seen } of people) for (const tab of seen) tab.crash()
      }),
      {
        numRuns: Number(process.env['CHAT_RUNS'] ?? 100),
        ...(process.env['CHAT_SEED'] === undefined ? {} : { seed: Number(process.env['CHAT_SEED']) }),
        // Shrinking would take long, as timing is part of it; the seed and the acts are printed.
        endOnFailure: true,
        interruptAfterTimeLimit: 60_000,
      },
    )
  },
)

test('keys that change twice while an epoch is made leave an epoch that everybody accepts', async () => {
  const { alice, bob, server } = await cast()
  started.push(alice.human, bob.human)
  const [a, b] = [await alice.tab(), await bob.tab()]
  await write(a, 'hello')
  await eventually(() => textsOf(b).length === 1, 'it arrives')
  await alice.human.rotate()
  let release: () => void = () => undefined
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  let isHeld = false
  server.hold = (name, type) => {
    if (name !== bob.keys.name || type !== 'history.get') return null
    isHeld = true
    return released
  }
  await write(b, 'while it is made')
  await eventually(() => isHeld, 'bob is about to make the next epoch')

  await alice.human.rotate()
  await write(a, 'meanwhile')
  await eventually(() => a.session.selected?.sender.items.length === 0, 'it is sent')
  await alice.human.rotate()
  server.hold = () => null
  release()

  const all = (): boolean => [a, b].every((tab) => textsOf(tab).length === 3)
  const alarmed = (): boolean => [a, b].some(({ session }) => session.selected?.alarm !== null)
  await eventually(() => all() || alarmed(), 'all is everywhere')
  for (const { session } of [a, b]) {
    expect(session.trouble).toBeNull()
    expect(session.selected?.alarm).toBeNull()
  }
})

test('a message whose device and whose epoch are both news is explained by both', async () => {
  const { alice, bob, server, stored } = await cast()
  started.push(alice.human, bob.human)
  const [a, b] = [await alice.tab(), await bob.tab()]
  await greeted(a, b)
  const pushed = ['keys.changed', 'epoch.new', 'head.new']
  server.tamper = (frame, to) =>
    to === bob.keys.name && pushed.includes(frame.type)
      ? { type: 'presence', conversation: stored.id, online: true }
      : frame

  const other = await (await alice.human.signIn()).tab()
  await alice.human.rotate()
  const before = textsOf(b).length
  await write(other, 'from a new browser, under a new epoch')

  const entries = (): readonly Entry[] => b.session.selected?.entries ?? []
  await eventually(() => entries().length > before || b.session.selected?.alarm !== null, 'it is there')
  expect(b.session.selected?.alarm).toBeNull()
  expect(entries().at(-1)?.shown.kind).toBe('text')
})
