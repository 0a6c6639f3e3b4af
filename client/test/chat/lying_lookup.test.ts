/** A server that says of a message that it has stored it: what is not in the log is still there to be sent. */
import { afterEach, expect, test } from 'vitest'
import type { Conversation } from '../../src/chat/conversation'
import type { ServerFrame } from '../../src/wire/frames'
import {
  type Browser,
  type Cast,
  cast,
  emptied,
  eventually,
  greeted,
  type Human,
  type Tab,
  textsOf,
  write,
} from './cast'

const started: Human[] = []

afterEach(() => {
  for (const { browsers } of started.splice(0))
    for (const { tabs } of browsers) for (const tab of [...tabs]) tab.crash()
})

async function start(): Promise<Cast & { a: Tab; b: Tab }> {
  const all = await cast()
  started.push(all.alice.human, all.bob.human)
  const a = await opened(all.alice)
  const b = await opened(all.bob)
  await greeted(a, b)
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

async function exchange(count: number, from: Tab, to: Tab): Promise<void> {
  const before = textsOf(to).length
  for (let number = 0; number < count; number += 1) await write(from, `m${number}`)
  await eventually(() => textsOf(to).length === before + count, 'all arrive')
}

/** Takes nothing from now on, and says of each message that it stands at `n`. */
function pretendToStore({ server, stored }: Cast, n: () => number): void {
  server.refuse = (type) => (type === 'envelope.send' ? { code: 'stale_epoch', retryAfter: null } : null)
  server.tamper = (frame, to): ServerFrame => {
    if (frame.type !== 'refused' || frame.ref === null) return frame
    const clientId = waitingIdOf(to)
    return { type: 'envelope.stored', ref: frame.ref, conversation: stored.id, clientId, n: n(), storedAt: 1 }
  }
}

function waitingIdOf(name: string): string {
  const tabs = started
    .filter((human) => human.name === name)
    .flatMap(({ browsers }) => browsers[0]?.tabs ?? [])
  return tabs.flatMap((tab) => roomOf(tab).sender.waiting)[0]?.clientId ?? ''
}

function mend({ server }: Cast): void {
  server.refuse = () => null
  server.tamper = (frame) => frame
}

async function expectStillWaiting(tab: Tab, browser: Browser, text: string): Promise<void> {
  const { sender } = roomOf(tab)
  expect(sender.waiting.map(({ content }) => content.text)).toEqual([text])
  expect(await browser.database.count('outbox')).toBe(1)
  expect(roomOf(tab).canSend).toBe(false)
}

test('a message that a look-up finds where another stands is not taken for sent', async () => {
  const all = await start()
  const { b, bob, a, server, stored } = all
  server.refuse = (type) => (type === 'envelope.send' ? { code: 'client_id_reused', retryAfter: null } : null)
  server.tamper = (frame) =>
    frame.type === 'envelopes.found'
      ? { ...frame, items: [{ clientId: roomOf(b).sender.items[0]?.clientId ?? '', n: 1, storedAt: 1 }] }
      : frame

  await write(b, 'please pay me')

  await eventually(() => roomOf(b).alarm === 'history_gap', 'an alarm')
  await expectStillWaiting(b, bob, 'please pay me')
  expect(stored.rows).toHaveLength(2)

  mend(all)
  roomOf(b).askAgain()

  await eventually(() => textsOf(a).length === 3, 'it arrives after all')
  await emptied(bob)
  expect(textsOf(b)).toEqual(['hello', 'hi', 'please pay me'])
  expect(roomOf(b).alarm).toBeNull()
})

test.each([
  ['where another message stands', 1, 'log_mismatch'],
  ['beyond the end of the log', 9, 'history_gap'],
])('a message said to be stored %s stays', async (_, n, alarm) => {
  const all = await start()
  const { b, bob } = all
  pretendToStore(all, () => n)

  await write(b, 'please pay me')

  await eventually(() => roomOf(b).alarm === alarm, 'an alarm')
  await expectStillWaiting(b, bob, 'please pay me')
  mend(all)
  b.crash()
  const again = await opened(bob)
  await eventually(() => textsOf(all.a).includes('please pay me'), 'it arrives after all')
  expect(roomOf(again).alarm).toBeNull()
})

test('a message said to be stored among those that are not loaded stays', async () => {
  const all = await start()
  const { a, bob } = all
  await exchange(60, a, all.b)
  await new Promise((resolve) => setTimeout(resolve, 20))
  all.b.crash()
  const again = await opened(bob)
  expect(roomOf(again).hasEarlier).toBe(true)
  pretendToStore(all, () => 1)

  await write(again, 'please pay me')

  await eventually(() => roomOf(again).alarm === 'history_gap', 'an alarm')
  await expectStillWaiting(again, bob, 'please pay me')
})

test('a message said to be stored and dropped is missed by the next reload', async () => {
  const all = await start()
  const { b, bob } = all
  pretendToStore(all, () => 3)
  await write(b, 'please pay me')
  await emptied(bob)

  b.crash()
  const again = await bob.tab()

  await eventually(() => again.session.selected?.alarm === 'history_shortened', 'an alarm')
})

test('a message said to be stored and dropped is missed when the friend writes', async () => {
  const all = await start()
  const { a, b, bob } = all
  pretendToStore(all, () => 3)
  await write(b, 'please pay me')
  await emptied(bob)
  mend(all)

  await write(a, 'anything new?')

  await eventually(() => roomOf(b).alarm !== null, 'an alarm')
  // Whichever comes first: the friend's message in its place, or a log that ends before it.
  expect(['log_mismatch', 'history_shortened']).toContain(roomOf(b).alarm)
})

test('a row that only bears the name of a message is not that message', async () => {
  const all = await start()
  const { b, bob, server, stored } = all
  server.refuse = (type) => (type === 'envelope.send' ? { code: 'client_id_reused', retryAfter: null } : null)
  server.tamper = (frame) => {
    const clientId = roomOf(b).sender.items[0]?.clientId ?? ''
    if (frame.type === 'envelopes.found') return { ...frame, items: [{ clientId, n: 3, storedAt: 1 }] }
    const [, own] = stored.rows
    if (frame.type !== 'history' || own === undefined || frame.rows.length > 0) return frame
    return { ...frame, lastN: 3, rows: [{ ...own, n: 3, clientId }] }
  }

  await write(b, 'please pay me')

  await eventually(() => roomOf(b).alarm === 'history_gap', 'an alarm')
  await expectStillWaiting(b, bob, 'please pay me')
})

test('what was sent long ago and never answered is found, however far back', async () => {
  const { a, b, alice, server, stored } = await start()
  server.fault = (when, type) => {
    if (when === 'after' && type === 'envelope.send') a.crash()
    return 'pass'
  }
  await write(a, 'sent, but never answered')
  await eventually(() => stored.rows.length === 3, 'it is stored')
  server.fault = () => 'pass'
  const other = await opened(await alice.human.signIn())
  const { version } = server.people.get(alice.keys.name)?.vault ?? { version: 0 }
  await exchange(60, b, other)
  roomOf(other).markRead()
  await eventually(
    () => (server.people.get(alice.keys.name)?.vault.version ?? 0) > version,
    'the vault knows how far the log goes',
  )

  const again = await opened(alice)

  await emptied(alice)
  const found = (): string[] => textsOf(again).filter((text) => text.startsWith('sent'))
  await eventually(() => found().length > 0, 'the log is read back to it')
  expect(found()).toHaveLength(1)
  expect(roomOf(again).sender.items).toEqual([])
  expect(roomOf(again).alarm).toBeNull()
  expect(stored.rows).toHaveLength(63)
})
