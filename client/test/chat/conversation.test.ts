import { afterEach, describe, expect, test } from 'vitest'
import type { ServerFrame } from '../../src/wire/frames'
import { type Browser, type Cast, cast, eventually, hastyClock, type Tab, textsOf, write } from './cast'

const started: Browser[] = []

afterEach(() => {
  for (const browser of started.splice(0)) for (const tab of [...browser.tabs]) tab.crash()
})

async function start(): Promise<Cast & { a: Tab; b: Tab }> {
  const all = await cast()
  started.push(all.alice, all.bob)
  const a = await all.alice.tab()
  const b = await all.bob.tab()
  await eventually(() => ready(a) && ready(b), 'both are ready')
  return { ...all, a, b }
}

function ready(tab: Tab): boolean {
  return tab.session.selected?.phase === 'ready'
}

function calm(...tabs: Tab[]): void {
  for (const { session } of tabs) {
    expect(session.trouble).toBeNull()
    expect(session.selected?.alarm).toBeNull()
  }
}

test('what one writes the other reads, with two ticks once their browser has checked it', async () => {
  const { a, b } = await start()

  await write(a, 'hello')
  await write(b, 'hi')

  await eventually(() => textsOf(a).length === 2 && textsOf(b).length === 2, 'both have both')
  await eventually(() => a.session.selected?.deliveredN === 2, 'the second tick')
  expect(textsOf(a)).toEqual(textsOf(b))
  expect(a.session.selected?.sender.items).toEqual([])
  calm(a, b)
})

test('both write first: one epoch wins, nothing is lost', async () => {
  const { a, b, stored } = await start()

  await Promise.all([write(a, 'from alice'), write(b, 'from bob')])

  await eventually(() => textsOf(a).length === 2 && textsOf(b).length === 2, 'both have both')
  expect(stored.epochs).toHaveLength(1)
  calm(a, b)
})

test('a reload keeps what was not sent, and shows what was', async () => {
  const { a, b, alice, server } = await start()
  await write(a, 'one')
  await eventually(() => textsOf(b).length === 1, 'the first arrives')
  server.fault = (when) => (when === 'before' ? 'break' : 'pass')
  await write(a, 'two')

  a.crash()
  server.fault = () => 'pass'
  const reloaded = await alice.tab()

  await eventually(() => textsOf(reloaded).length === 2 && textsOf(b).length === 2, 'the second arrives')
  expect(textsOf(reloaded)).toEqual(['one', 'two'])
  calm(reloaded, b)
})

test('what waited goes out in the order of writing, also what was written in the same instant', async () => {
  const clock = hastyClock()
  const instant = clock.now()
  const all = await cast({ ...clock, now: () => instant })
  started.push(all.alice, all.bob)
  const { alice, bob, server } = all
  const a = await alice.tab()
  const b = await bob.tab()
  await eventually(() => ready(a) && ready(b), 'both are ready')
  server.fault = (when, type) => (when === 'before' && type === 'envelope.send' ? 'break' : 'pass')
  const written = Array.from({ length: 12 }, (_, number) => `m${number}`)
  for (const text of written) await write(a, text)

  a.crash()
  server.fault = () => 'pass'
  await alice.tab()

  await eventually(() => textsOf(b).length === written.length, 'all arrive')
  expect(textsOf(b)).toEqual(written)
})

test('an answer that was lost does not double the message, not even when the tab dies with it', async () => {
  const { a, b, alice, server, stored } = await start()
  server.fault = (when, type) => (when === 'after' && type === 'envelope.send' ? 'break' : 'pass')
  await write(a, 'once')
  await eventually(() => stored.rows.length === 1, 'it is stored')

  a.crash()
  server.fault = () => 'pass'
  const reloaded = await alice.tab()
  await write(reloaded, 'twice')

  await eventually(() => textsOf(reloaded).length === 2 && textsOf(b).length === 2, 'all arrives')
  await eventually(() => reloaded.session.selected?.sender.items.length === 0, 'the outbox is empty')
  expect(textsOf(b)).toEqual(['once', 'twice'])
  calm(reloaded, b)
})

test('two tabs write at once, and a third takes over from one that dies', async () => {
  const { a, b, alice, server } = await start()
  const a2 = await alice.tab()
  await eventually(() => ready(a2), 'the second tab is ready')
  await Promise.all(['1', '2', '3', '4'].map((text, index) => write(index % 2 === 0 ? a : a2, text)))
  await eventually(() => textsOf(b).length === 4, 'four arrive')
  server.fault = (when, type) => (when === 'before' && type === 'envelope.send' ? 'break' : 'pass')
  await write(a, '5')

  a.crash()
  server.fault = () => 'pass'

  await eventually(
    () => textsOf(b).length === 5 && textsOf(a2).length === 5,
    'the fifth arrives from the other tab',
  )
  expect([...textsOf(b)].sort()).toEqual(['1', '2', '3', '4', '5'])
  calm(a2, b)
})

test('what a dead tab had sent unanswered does not wait for ever in the tab that already shows it', async () => {
  const { a, b, alice, server } = await start()
  const a2 = await alice.tab()
  await eventually(() => ready(a2), 'the second tab is ready')
  server.fault = (when, type) => {
    if (when === 'after' && type === 'envelope.send') a.crash()
    return 'pass'
  }
  let adopted = false
  a2.session.onChange(() => {
    adopted ||= a2.session.selected?.sender.items.length === 1
  })
  await write(a, 'sent, but never answered')

  await eventually(() => textsOf(a2).length === 1, 'the other tab shows it')
  await eventually(() => adopted, 'the other tab adopts it')
  await eventually(() => a2.session.selected?.sender.items.length === 0, 'nothing waits any more')
  expect(textsOf(a2)).toEqual(['sent, but never answered'])
  calm(a2, b)
})

test('a fresh browser view pages backwards and joins what it knows', async () => {
  const { a, b, bob } = await start()
  for (let count = 1; count <= 120; count += 1) await write(a, `m${count}`)
  await eventually(() => textsOf(b).length === 120, 'all arrive')
  b.session.selected?.markRead()
  await eventually(() => b.session.selected?.readN === 120, 'it is read')
  await new Promise((resolve) => setTimeout(resolve, 20))

  b.crash()
  const again = await bob.tab()
  await eventually(() => textsOf(again).length === 50, 'one page')
  await again.session.selected?.loadEarlier()
  await again.session.selected?.loadEarlier()

  expect(textsOf(again)).toHaveLength(120)
  expect(again.session.selected?.hasEarlier).toBe(false)
  expect(again.session.selected?.unread).toBe(0)
  calm(a, again)
})

test('a conversation that ends keeps its history and marks what waits as failed', async () => {
  const { a, b, server, stored } = await start()
  await write(a, 'before')
  await eventually(() => textsOf(b).length === 1, 'it arrives')
  stored.open = false

  await write(a, 'after')

  await eventually(() => a.session.selected?.sender.items[0]?.failure != null, 'it is marked')
  expect(a.session.selected?.isOpen).toBe(false)
  stored.open = true
  server.changed(stored)
  await eventually(() => a.session.selected?.isOpen === true, 'it opens again')
  const [failed] = a.session.selected?.sender.items ?? []
  await a.session.selected?.sender.retry(failed?.clientId ?? '')
  await eventually(() => textsOf(b).length === 2, 'the retry arrives')
  calm(a, b)
})

test('too fast waits as long as it was told to, then goes on', async () => {
  const { a, b, server } = await start()
  let refusals = 2
  server.refuse = (type) =>
    type === 'envelope.send' && refusals-- > 0 ? { code: 'too_fast', retryAfter: 2 } : null

  await write(a, 'fast')

  await eventually(() => a.session.selected?.sender.pause?.because === 'too_fast', 'it pauses')
  await eventually(() => textsOf(b).length === 1, 'it arrives')
  calm(a, b)
})

test('a friend without keys is no error', async () => {
  const all = await cast()
  started.push(all.alice)
  all.server.people.delete(all.bob.keys.name)

  const a = await all.alice.tab()

  await eventually(() => a.session.selected?.phase === 'no_peer_keys', 'it says so')
  calm(a)
})

test('a signed-out tab stops and says so', async () => {
  const { a, server } = await start()

  server.cut(a.session.ownName, 4401)

  await eventually(() => a.session.trouble?.kind === 'signed_out', 'it says so')
  expect(a.session.connection.state.kind).toBe('signed_out')
})

describe('a server that lies', () => {
  async function exchange(): Promise<Cast & { a: Tab; b: Tab }> {
    const all = await start()
    for (const text of ['one', 'two', 'three']) {
      await write(all.a, text)
      await write(all.b, `re: ${text}`)
    }
    await eventually(() => textsOf(all.a).length === 6 && textsOf(all.b).length === 6, 'both have all')
    return all
  }

  function toBob(all: Cast, change: (frame: ServerFrame) => ServerFrame): void {
    all.server.tamper = (frame, to) => (to === all.bob.keys.name ? change(frame) : frame)
  }

  test('an altered message is not shown', async () => {
    const all = await exchange()
    toBob(all, (frame) => {
      if (frame.type !== 'envelope.new') return frame
      const envelope = Uint8Array.from(frame.row.envelope)
      envelope[envelope.length - 80] = (envelope[envelope.length - 80] ?? 0) ^ 1
      return { ...frame, row: { ...frame.row, envelope } }
    })

    await write(all.a, 'four')

    await eventually(
      () => all.b.session.selected?.entries.at(-1)?.shown.kind === 'alarm',
      'an alarm in place of the message',
    )
    expect(textsOf(all.b)).not.toContain('four')
    expect(all.b.session.selected?.entries.at(-1)?.shown).toEqual({ kind: 'alarm', code: 'altered_message' })
  })

  test('what is disclosed in a report is what was checked, of the friend alone', async () => {
    const all = await exchange()
    const room = all.b.session.selected
    const theirs = room?.entries.filter(({ side }) => side !== room.side) ?? []
    const own = room?.entries.find(({ side }) => side === room.side)

    const disclosed = await room?.disclose([theirs[2]?.n ?? 0, theirs[0]?.n ?? 0])

    expect(disclosed?.map(({ text }) => text)).toEqual(['one', 'three'])
    await expect(room?.disclose([own?.n ?? 0])).rejects.toThrow()
    await expect(room?.disclose([99])).rejects.toThrow()
    toBob(all, (frame) =>
      frame.type === 'history'
        ? { ...frame, rows: frame.rows.map((row, at) => ({ ...row, n: frame.rows.at(-1 - at)?.n ?? row.n })) }
        : frame,
    )
    await expect(room?.disclose([theirs[0]?.n ?? 0])).rejects.toThrow()
  })

  test('a message hidden from one side is noticed with the next', async () => {
    const all = await exchange()
    let hidden = false
    toBob(all, (frame) => {
      if (frame.type === 'envelope.new') {
        if (!hidden) {
          hidden = true
          return { type: 'presence', conversation: all.stored.id, online: true }
        }
        return { ...frame, row: { ...frame.row, n: frame.row.n - 1 } }
      }
      return frame
    })

    await write(all.a, 'hidden')
    await write(all.a, 'seen')

    await eventually(() => all.b.session.selected?.alarm != null, 'an alarm')
    expect(['writer_broken', 'log_mismatch']).toContain(all.b.session.selected?.alarm)
    expect(all.b.session.selected?.canSend).toBe(false)
  })

  test('a log that got shorter is noticed by a fresh tab', async () => {
    const all = await exchange()
    await new Promise((resolve) => setTimeout(resolve, 20))
    all.b.crash()
    all.stored.rows.splice(-2)
    all.stored.log.splice(-2)

    const again = await all.bob.tab()

    await eventually(() => again.session.selected?.alarm === 'history_shortened', 'an alarm')
  })

  test('a receipt that no device signed is noticed', async () => {
    const all = await exchange()
    await eventually(() => all.stored.heads[0] !== null, 'a head')
    const head = Uint8Array.from(all.stored.heads[0] ?? [])
    head[head.length - 1] = (head[head.length - 1] ?? 0) ^ 1

    all.server.tell(all.stored, null, { type: 'head.new', conversation: all.stored.id, side: 0, head })

    await eventually(() => all.b.session.selected?.alarm === 'head_invalid', 'an alarm')
  })

  test('another identity for a pinned friend is noticed, and nothing is sent to it', async () => {
    const all = await exchange()
    const other = await cast()
    started.push(other.alice, other.bob)
    await new Promise((resolve) => setTimeout(resolve, 20))
    all.b.crash()
    const person = all.server.people.get(all.alice.keys.name)
    const { createAccount } = await import('../../src/crypto/account')
    const { systemRandom } = await import('../../src/wire/bytes')
    const forged = await createAccount({
      origin: all.alice.keys.origin,
      name: all.alice.keys.name,
      stretched: systemRandom(32),
      recoveryCode: systemRandom(20),
      now: 0,
      random: systemRandom,
    })
    if (person !== undefined) person.chain = [...forged.keys.chain]

    const again = await all.bob.tab()

    await eventually(() => again.session.selected?.alarm === 'identity_changed', 'an alarm')
    expect(again.session.selected?.canSend).toBe(false)
  })
})
