import { afterEach, expect, test } from 'vitest'
import { type Browser, type Cast, cast, eventually, greeted, type Tab, textsOf } from './cast'

const started: Browser[] = []

afterEach(() => {
  for (const browser of started.splice(0)) for (const tab of [...browser.tabs]) tab.crash()
})

/** Both have written; then Bob's account is deleted. */
async function deleted(): Promise<Cast & { a: Tab }> {
  const all = await cast()
  started.push(all.alice, all.bob)
  const a = await all.alice.tab()
  const b = await all.bob.tab()
  await eventually(() => b.session.selected?.phase === 'ready', 'Bob is ready')
  await greeted(a, b)
  b.crash()
  all.server.deleted.add(all.bob.keys.name)
  all.stored.open = false
  return { ...all, a }
}

function calm({ session }: Tab): void {
  expect(session.trouble).toBeNull()
  expect(session.selected?.alarm).toBeNull()
}

test('a friend whose account is gone is no alarm, and what was shown stays', async () => {
  const { a, server, stored } = await deleted()

  server.changed(stored)

  await eventually(() => a.session.selected?.summary.peerDeleted === true, 'it is told')
  expect(a.session.selected?.phase).toBe('ready')
  expect(textsOf(a)).toEqual(['hello', 'hi'])
  calm(a)
})

test('a tab that opens afterwards reads and checks all of it', async () => {
  const { a, alice } = await deleted()
  a.crash()

  const late = await alice.tab()

  await eventually(() => textsOf(late).length === 2, 'the history is there')
  expect(late.session.selected?.summary.peerDeleted).toBe(true)
  expect(late.session.selected?.phase).toBe('ready')
  calm(late)
})

test('an empty key chain of a friend who was known still is one', async () => {
  const { a, alice, bob, server } = await deleted()
  a.crash()
  const known = server.people.get(alice.keys.name)
  if (known) server.people.set(bob.keys.name, { ...known, chain: [] })

  const late = await alice.tab()

  await eventually(() => late.session.selected?.alarm === 'chain_rolled_back', 'the alarm')
})
