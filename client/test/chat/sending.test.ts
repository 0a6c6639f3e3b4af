/** What a message meets on its way: refusals for good, a server that cannot, a browser without room, a tab that dies. */
import { afterEach, expect, test } from 'vitest'
import type { Conversation } from '../../src/chat/conversation'
import type { SendingItem } from '../../src/chat/sender'
import { sealLocal } from '../../src/crypto/local_box'
import type { OutboxRecord } from '../../src/store/database'
import { newUuid, systemRandom, utf8 } from '../../src/wire/bytes'
import {
  type Browser,
  type Cast,
  cast,
  emptied,
  eventually,
  hastyClock,
  type Tab,
  textsOf,
  write,
} from './cast'

const DAY_MS = 24 * 3600 * 1000
const started: Browser[] = []

afterEach(() => {
  for (const browser of started.splice(0)) for (const tab of [...browser.tabs]) tab.crash()
})

async function start(clock = hastyClock()): Promise<Cast & { a: Tab; b: Tab }> {
  const all = await cast(clock)
  started.push(all.alice, all.bob)
  const a = await opened(all.alice)
  const b = await opened(all.bob)
  return { ...all, a, b }
}

async function opened(browser: Browser): Promise<Tab> {
  const tab = await browser.tab()
  await eventually(() => tab.session.selected?.phase === 'ready', 'it is ready')
  return tab
}

function roomOf({ session }: Tab): Conversation {
  if (session.selected === null) throw new Error('No conversation is open.')
  return session.selected
}

function failedOf(tab: Tab): SendingItem[] {
  return roomOf(tab).sender.items.filter(({ failure }) => failure !== null)
}

/** The server says this of the `count` messages that are sent after `skip` others, and takes the rest. */
function refuseSome({ server }: Cast, code: string, skip: number, count = 1): void {
  let seen = 0
  server.refuse = (type) => {
    if (type !== 'envelope.send') return null
    seen += 1
    return seen > skip && seen <= skip + count ? { code, retryAfter: null } : null
  }
}

function calm(...tabs: Tab[]): void {
  for (const { session } of tabs) {
    expect(session.trouble).toBeNull()
    expect(session.selected?.alarm).toBeNull()
  }
}

test('a message that is refused for good says why, keeps nobody waiting, and can be tried again', async () => {
  const all = await start()
  const { a, b, alice } = all
  refuseSome(all, 'something_new', 1)

  for (const text of ['one', 'two', 'three']) await write(a, text)

  await eventually(() => textsOf(b).length === 2, 'the others arrive')
  expect(textsOf(b)).toEqual(['one', 'three'])
  expect(failedOf(a)).toMatchObject([{ content: { text: 'two' }, failure: 'something_new' }])
  await roomOf(a).sender.retry(failedOf(a)[0]?.clientId ?? '')
  await eventually(() => textsOf(b).length === 3, 'it arrives')
  await emptied(alice)
  calm(a, b)
})

test('a message that was refused for good stays so after a crash, until it is deleted', async () => {
  const all = await start()
  const { a, b, alice } = all
  refuseSome(all, 'something_new', 0)
  await write(a, 'refused')
  await eventually(() => failedOf(a).length === 1, 'it is marked')

  a.crash()
  const again = await opened(alice)

  await eventually(() => failedOf(again).length === 1, 'it is there again')
  await write(again, 'next')
  await eventually(() => textsOf(b).length === 1, 'the next arrives')
  await roomOf(again).sender.remove(failedOf(again)[0]?.clientId ?? '')
  await emptied(alice)
  calm(again, b)
})

test.each([1009, 1011, 1008])(
  'a message that has closed the socket three times with %i is put aside, and the next arrives',
  async (code) => {
    const { a, b, server } = await start()
    let closes = 0
    server.fault = (when, type) => {
      if (when !== 'before' || type !== 'envelope.send' || closes === 3) return 'pass'
      closes += 1
      server.cut(a.session.ownName, code)
      return 'break'
    }

    await write(a, 'poison')
    await write(a, 'next')

    await eventually(() => textsOf(b).length === 1, 'the next arrives')
    expect(textsOf(b)).toEqual(['next'])
    expect(failedOf(a)).toMatchObject([{ failure: 'The server could not take this message.' }])
    calm(a, b)
  },
)

test('a network that breaks time after time puts nothing aside', async () => {
  const { a, b, server } = await start()
  let breaks = 0
  server.fault = (when, type) => {
    if (when !== 'before' || type !== 'envelope.send' || breaks === 5) return 'pass'
    breaks += 1
    return 'break'
  }

  await write(a, 'one')
  await write(a, 'two')

  await eventually(() => textsOf(b).length === 2, 'both arrive', 20_000)
  expect(textsOf(b)).toEqual(['one', 'two'])
  calm(a, b)
})

// A server that cannot

test('a server that cannot store is asked again after longer and longer pauses', async () => {
  const all = await start()
  const { a, b } = all
  refuseSome(all, 'unavailable', 0, 4)
  const pauses: number[] = []
  let until = 0
  a.session.onChange(() => {
    const pause = roomOf(a).sender.pause
    if (pause?.because !== 'unavailable' || pause.until === until) return
    until = pause.until
    pauses.push(until - alice.human.clock.now())
  })
  const { alice } = all

  await write(a, 'patient')

  await eventually(() => textsOf(b).length === 1, 'it arrives', 20_000)
  expect(pauses).toHaveLength(4)
  // The hasty clock has moved on by the time of the look; a pause is half jitter.
  for (const [index, pause] of pauses.entries()) expect(pause).toBeLessThanOrEqual(1_000 * 2 ** index)
  expect(pauses[3]).toBeGreaterThan(2_000)
  calm(a, b)
})

test('who does not want to wait for a server that cannot store does not have to', async () => {
  const still = hastyClock(1)
  const all = await start(still)
  const { a, b } = all
  refuseSome(all, 'unavailable', 0, 6)
  await write(a, 'impatient')

  for (let count = 0; count < 6; count += 1) {
    await eventually(() => roomOf(a).sender.pause !== null, 'it pauses')
    a.session.retryNow()
  }

  await eventually(() => textsOf(b).length === 1, 'it arrives')
  calm(a, b)
})

test('a pause that a server asks for has an end', async () => {
  const { a, alice, server } = await start()
  server.refuse = (type) => (type === 'envelope.send' ? { code: 'too_fast', retryAfter: 2 ** 40 } : null)
  await write(a, 'slow')

  await eventually(() => roomOf(a).sender.pause !== null, 'it pauses')

  const until = roomOf(a).sender.pause?.until ?? Infinity
  expect(until - alice.human.clock.now()).toBeLessThanOrEqual(3600 * 1000)
})

test('a list that the server cannot give is said, and asked for again', async () => {
  const { a, alice, server } = await start()
  let refusals = 2
  server.refuse = (type) =>
    type === 'conversations.list' && refusals-- > 0 ? { code: 'unavailable', retryAfter: null } : null
  a.crash()

  const again = await alice.tab()

  await eventually(() => again.session.retryAt !== null, 'it is said')
  await eventually(() => again.session.selected?.phase === 'ready', 'it is there')
  expect(again.session.retryAt).toBeNull()
})

test('a log that the server cannot give is said, and asked for again', async () => {
  const { a, alice, server } = await start()
  let refusals = 2
  server.refuse = (type) =>
    type === 'history.get' && refusals-- > 0 ? { code: 'unavailable', retryAfter: null } : null
  a.crash()

  const again = await alice.tab()

  await eventually(() => (again.session.selected?.retryAt ?? null) !== null, 'it is said')
  await eventually(() => again.session.selected?.phase === 'ready', 'it is there')
  expect(again.session.selected?.retryAt).toBeNull()
})

// A browser without room

test('without room a message is not taken, which is said until there is room again', async () => {
  const { a, b, alice } = await start()
  alice.isFull = true

  await expect(write(a, 'no room')).rejects.toMatchObject({ name: 'QuotaExceededError' })

  expect(roomOf(a).sender.items).toEqual([])
  expect(a.session.isStorageFull).toBe(true)
  alice.isFull = false
  await write(a, 'room')
  expect(a.session.isStorageFull).toBe(false)
  await eventually(() => textsOf(b).length === 1, 'it arrives')
  calm(a, b)
})

test('without room a refusal is shown all the same, and the next message goes out', async () => {
  const all = await start()
  const { a, b, alice } = all
  const [held, letGo] = gate()
  all.server.hold = (_, type) => (type === 'envelope.send' ? held : null)
  refuseSome(all, 'something_new', 0)
  await write(a, 'refused')
  await write(a, 'next')

  alice.isFull = true
  all.server.hold = () => null
  letGo()

  await eventually(() => textsOf(b).length === 1, 'the next arrives')
  expect(textsOf(b)).toEqual(['next'])
  expect(failedOf(a)).toMatchObject([{ content: { text: 'refused' }, failure: 'something_new' }])
  await roomOf(a).sender.retry(failedOf(a)[0]?.clientId ?? '')
  await eventually(() => textsOf(b).length === 2, 'it arrives when it is tried again')
  expect(a.session.isStorageFull).toBe(true)
  calm(a, b)
})

test('without room what waits in the browser is found again once there is', async () => {
  const { a, b, alice, server } = await start()
  server.fault = (when, type) => (when === 'before' && type === 'envelope.send' ? 'break' : 'pass')
  await write(a, 'waits')
  a.crash()
  server.fault = () => 'pass'
  alice.isFull = true

  const again = await opened(alice)
  await eventually(() => again.session.isStorageFull, 'it is said')
  alice.isFull = false

  await eventually(() => textsOf(b).length === 1, 'it arrives')
  calm(again, b)
})

test('a draft that could not be kept is kept as soon as there is room', async () => {
  const { a, alice, stored } = await start()
  alice.isFull = true
  a.session.drafts.set(stored.id, 'half a thought')
  await eventually(() => a.session.isStorageFull, 'it is said')

  alice.isFull = false
  await a.session.keep()

  a.crash()
  const again = await opened(alice)
  expect(again.session.drafts.of(stored.id)).toBe('half a thought')
  calm(again)
})

// What earlier tabs left

test('a message that this page cannot read keeps no other waiting, and is not thrown away', async () => {
  const { a, b, alice, server, stored } = await start()
  server.fault = (when, type) => (when === 'before' && type === 'envelope.send' ? 'break' : 'pass')
  await write(a, 'readable')
  a.crash()
  server.fault = () => 'pass'
  const clientId = newUuid(systemRandom)
  const purpose = `outbox/${stored.id}/${clientId}`
  const newer: OutboxRecord = {
    clientId,
    conversation: stored.id,
    createdAt: 0,
    box: await sealLocal(alice.keys.localKey, purpose, utf8('of a newer page'), systemRandom),
    owner: 'gone',
    failure: null,
  }
  await alice.database.put('outbox', newer)

  const again = await opened(alice)

  await eventually(() => textsOf(b).length === 1, 'the readable one arrives')
  expect(await alice.database.getAllKeys('outbox')).toContain(clientId)
  calm(again, b)
})

test('a clock that went back by a day does not change the order of what waits', async () => {
  const hasty = hastyClock()
  let offset = 0
  const { a, b, alice, server } = await start({ ...hasty, now: () => hasty.now() + offset })
  server.fault = (when, type) => (when === 'before' && type === 'envelope.send' ? 'break' : 'pass')
  await write(a, 'first')
  a.crash()
  offset = -DAY_MS
  const second = await opened(alice)
  await eventually(() => roomOf(second).sender.items.length === 1, 'the first is adopted')
  await write(second, 'second')

  second.crash()
  server.fault = () => 'pass'
  await opened(alice)

  await eventually(() => textsOf(b).length === 2, 'both arrive')
  expect(textsOf(b)).toEqual(['first', 'second'])
})

function gate(): [Promise<void>, () => void] {
  let letGo: () => void = () => undefined
  const held = new Promise<void>((resolve) => {
    letGo = resolve
  })
  return [held, letGo]
}
