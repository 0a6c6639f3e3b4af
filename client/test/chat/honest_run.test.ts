/** A long conversation of honest people on a bad line: it raises no alarm, loses nothing and doubles nothing. */
import { afterEach, expect, test } from 'vitest'
import { type Browser, cast, eventually, hastyClock, type Human, type Tab, textsOf, write } from './cast'
import type { FakeServer } from './fake_network'

const MESSAGES = 10_000
const ROUND = 250
const REFUSALS = ['stale_epoch', 'writer_gap', 'too_fast', 'unavailable']
const PATIENCE_MS = 60_000
/** Slower than in other tests: a browser confirms once a second of the program, not after each few messages. */
const HASTE = 20

let humans: readonly Human[] = []

afterEach(() => {
  for (const human of humans)
    for (const browser of human.browsers) for (const tab of [...browser.tabs]) tab.crash()
})

/** What somebody has before them: two browsers, and a tab in each. */
interface Desk {
  readonly human: Human
  readonly first: Browser
  second: Browser
  tabs: Tab[]
}

async function deskOf(first: Browser): Promise<Desk> {
  const desk = { human: first.human, first, second: await first.human.signIn(), tabs: [] }
  await reopen(desk)
  return desk
}

async function reopen(desk: Desk): Promise<void> {
  for (const tab of desk.tabs) tab.crash()
  desk.tabs = [await desk.first.tab(), await desk.second.tab()]
}

/** The second browser is lost: it is signed out, all keys are renewed, and the next one signs in. */
async function loseSecond(desk: Desk): Promise<void> {
  await desk.human.renew(desk.first, [desk.second])
  desk.second = await desk.human.signIn()
  await reopen(desk)
}

/** The next answer of this kind is lost, and the connection with it. */
function loseAnswer(server: FakeServer, of: string): void {
  let armed = true
  server.fault = (when, type) => {
    if (!armed || when !== 'after' || type !== of) return 'pass'
    armed = false
    return 'break'
  }
}

/** The next message is refused, as an honest server may. */
function refuseOnce(server: FakeServer, code: string): void {
  let armed = true
  server.refuse = (type) => {
    if (!armed || type !== 'envelope.send') return null
    armed = false
    return { code, retryAfter: null }
  }
}

function room(tab: Tab): NonNullable<Tab['session']['selected']> {
  const { selected } = tab.session
  if (selected === null) throw new Error('Nothing is open.')
  return selected
}

function requireCalm(tab: Tab): void {
  expect(tab.session.trouble).toBeNull()
  expect(room(tab).alarm).toBeNull()
  expect(room(tab).trust).toBe('verified')
  expect(room(tab).entries.filter(({ shown }) => shown.kind !== 'text')).toEqual([])
}

test(
  `${MESSAGES} messages with reconnects, resends, revocations and two browsers each raise no alarm`,
  { timeout: 900_000 },
  async () => {
    const { alice, bob, server, stored } = await cast(hastyClock(HASTE))
    humans = [alice.human, bob.human]
    const desks = [await deskOf(alice), await deskOf(bob)] as const
    const reached = (tab: Tab, n: number): boolean =>
      tab.session.selected?.phase === 'ready' &&
      room(tab).history.total === n &&
      room(tab).entries.at(-1)?.n === n
    for (const { tabs } of desks)
      for (const tab of tabs) {
        await eventually(() => tab.session.selected?.phase === 'ready', 'it is ready', PATIENCE_MS)
      }
    for (const { tabs } of desks) for (const tab of tabs.slice(0, 1)) await room(tab).theyMatch()
    const written: string[] = []

    for (let round = 0; written.length < MESSAGES; round += 1) {
      const desk = desks[round % 2 === 0 ? 0 : 1]
      const doomed = await desk.first.tab()
      const tabs = desks.flatMap((one) => one.tabs)
      for (let i = 0; i < ROUND; i += 1) {
        const text = `m${written.length}`
        written.push(text)
        const writer = i < ROUND / 2 && i % 10 === 0 ? doomed : tabs[(i + round) % tabs.length]
        if (writer !== undefined) await write(writer, text)
        switch (i) {
          case 20:
            server.cut(desk.human.name)
            break
          case 60:
            loseAnswer(server, 'envelope.send')
            break
          case 90:
            refuseOnce(server, REFUSALS[round % REFUSALS.length] ?? 'unavailable')
            break
          case ROUND / 2:
            doomed.crash()
            break
          case 150:
            server.cut(desk.human.name)
            break
          case 200:
            tabs.forEach((tab) => {
              room(tab).markRead()
            })
            loseAnswer(server, 'head.set')
        }
      }
      const all = (): boolean => tabs.every((tab) => reached(tab, written.length))
      await eventually(all, `round ${round} is everywhere`, PATIENCE_MS)
      tabs.forEach(requireCalm)
      if (round % 4 < 2) await loseSecond(desk)
      else if (round % 4 === 2) await desk.human.rotate()
      else await reopen(desk)
    }

    expect(stored.rows).toHaveLength(MESSAGES)
    for (const { tabs } of desks)
      for (const tab of tabs.slice(0, 1)) {
        await eventually(() => reached(tab, MESSAGES), 'it is ready', PATIENCE_MS)
        await room(tab).checkAll()
        requireCalm(tab)
        expect(room(tab).history).toMatchObject({ checked: MESSAGES, total: MESSAGES })
        expect(textsOf(tab).sort()).toEqual([...written].sort())
      }
  },
)
