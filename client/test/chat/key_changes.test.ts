import { afterEach, describe, expect, test } from 'vitest'
import type { Trust } from '../../src/chat/conversation'
import { expectFriend } from '../../src/chat/expected_friends'
import { logNext, logStart } from '../../src/crypto/log'
import { type Bytes, fromBase64url, newUuid, systemRandom, toHex, uuidToBytes } from '../../src/wire/bytes'
import type { Summary } from '../../src/wire/frames'
import { decodeHead } from '../../src/wire/objects'
import { type Browser, type Cast, cast, eventually, greeted, Human, type Tab, textsOf, write } from './cast'

const started: Human[] = []

afterEach(() => {
  for (const human of started.splice(0))
    for (const browser of human.browsers) for (const tab of [...browser.tabs]) tab.crash()
})

async function people(): Promise<Cast> {
  const all = await cast()
  started.push(all.alice.human, all.bob.human)
  return all
}

async function start(): Promise<Cast & { a: Tab; b: Tab }> {
  const all = await people()
  const a = await all.alice.tab()
  const b = await all.bob.tab()
  await eventually(() => ready(a) && ready(b), 'both are ready')
  return { ...all, a, b }
}

async function acquainted(): Promise<Cast & { a: Tab; b: Tab }> {
  const all = await start()
  await greeted(all.a, all.b)
  await eventually(() => all.stored.heads.every((head) => head !== null), 'both have confirmed')
  return all
}

function ready(tab: Tab): boolean {
  return tab.session.selected?.phase === 'ready'
}

function arrived(count: number, ...tabs: Tab[]): Promise<void> {
  return eventually(() => tabs.every((tab) => textsOf(tab).length === count), `${count} messages everywhere`)
}

function calm(...tabs: Tab[]): void {
  for (const { session } of tabs) {
    expect(session.trouble).toBeNull()
    expect(session.selected?.alarm ?? null).toBeNull()
    const alarms = session.selected?.entries.filter(({ shown }) => shown.kind === 'alarm') ?? []
    expect(alarms).toEqual([])
  }
}

async function reload(browser: Browser): Promise<Tab> {
  for (const tab of [...browser.tabs]) tab.crash()
  const tab = await browser.tab()
  await eventually(() => ready(tab), 'it is ready again')
  return tab
}

function room(tab: Tab): NonNullable<Tab['session']['selected']> {
  const { selected } = tab.session
  if (selected === null) throw new Error('Nothing is open.')
  return selected
}

function trustOf(tab: Tab): { trust: Trust; canSend: boolean } {
  const { trust, canSend } = room(tab)
  return { trust, canSend }
}

const nextSecond = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 30))

describe('a new browser', () => {
  test('is told of in the others until somebody has seen to it, and not in itself', async () => {
    const { a, b, alice } = await acquainted()

    const second = await alice.human.signIn()
    const a2 = await second.tab()

    await arrived(2, a2)
    await eventually(() => a.session.signIns.length === 1, 'the first tells')
    expect(a.session.signIns[0]?.device).toBe(toHex(second.keys.device.id))
    expect(a2.session.signIns).toEqual([])
    await write(a2, 'from the new one')
    await arrived(3, a, b, a2)
    calm(a, a2, b)

    const again = await reload(alice)
    expect(again.session.signIns).toHaveLength(1)
    await again.session.dismissSignIn(again.session.signIns[0]?.device ?? '')
    expect(again.session.signIns).toEqual([])
    expect((await reload(alice)).session.signIns).toEqual([])
  })

  test('that signed in while this one was away is told of when it comes back', async () => {
    const { a, alice } = await acquainted()
    a.crash()
    await alice.human.signIn()

    const again = await reload(alice)

    expect(again.session.signIns).toHaveLength(1)
  })
})

describe('keys that are renewed', () => {
  test('sign the revoked browser out, ask the others for the password, and shut both out of what follows', async () => {
    const { b, alice, stored } = await acquainted()
    const lost = await alice.human.signIn()
    const other = await alice.human.signIn()
    const onLost = await lost.tab()
    const onOther = await other.tab()
    await write(onLost, 'from the one that gets lost')
    await arrived(3, b, onLost, onOther)

    await alice.human.renew(alice, [lost])

    await eventually(() => onLost.session.trouble !== null, 'the lost one is stopped')
    expect(onLost.session.trouble?.kind).toBe('signed_out')
    await eventually(() => onOther.session.trouble?.kind === 'keys_renewed', 'the other asks')
    const a = await reload(alice)
    await write(b, 'after the loss')
    await arrived(4, a, b)
    expect(stored.epochs).toHaveLength(2)
    expect(textsOf(onLost)).not.toContain('after the loss')
    await other.human.signInAgain(other)
    const again = await reload(other)
    await arrived(4, again)
    calm(a, b, again)
  })

  test('are asked for by a browser that was away, before it alarms anybody of its vault', async () => {
    const { a, b, alice } = await acquainted()
    const other = await alice.human.signIn()
    a.crash()

    await alice.human.renew(other, [])
    const back = await alice.tab()

    await eventually(() => back.session.trouble !== null, 'it is stopped')
    expect(back.session.trouble).toEqual({ kind: 'keys_renewed', inThisBrowser: false })
    calm(b)
  })

  test('with age leave every browser as it is', async () => {
    const { a, b, alice, stored } = await acquainted()

    await alice.human.rotate()
    await write(b, 'sealed to the new key')

    await arrived(3, a, b)
    expect(stored.epochs).toHaveLength(2)
    await write(a, 'opened')
    await arrived(4, a, b)
    calm(a, b)
  })

  test('while there was no connection are known before the next message is sealed', async () => {
    const { a, b, alice, stored } = await acquainted()
    const lost = await alice.human.signIn()
    b.session.connection.wentOffline()
    await alice.human.renew(alice, [lost])
    a.crash()
    await write(b, 'written without a connection')
    b.session.connection.retryNow()

    const again = await reload(alice)

    await arrived(3, again, b)
    expect(stored.epochs).toHaveLength(2)
    calm(again, b)
  })
})

test('a message of a browser that was signed out, let through by the server, is not shown', async () => {
  const { b, alice, server } = await acquainted()
  const lost = await alice.human.signIn()
  const onLost = await lost.tab()
  await eventually(() => ready(onLost), 'it is ready')
  server.accomplice = lost.keys.device.id
  await alice.human.renew(alice, [lost])
  const a = await reload(alice)
  await write(a, 'that one is lost')
  await arrived(3, a, b)

  await write(onLost, 'it is me, alice')

  await eventually(() => [a, b].every((tab) => room(tab).entries.length === 4), 'the row arrives at both')
  expect(room(b).entries.at(-1)?.shown).toEqual({ kind: 'alarm', code: 'device_ended' })
  expect(room(a).entries.at(-1)?.shown).toEqual({ kind: 'alarm', code: 'device_ended' })
  expect(textsOf(b)).not.toContain('it is me, alice')
})

describe('a friend who starts over', () => {
  test('is followed with a line in the log where nobody had compared and nothing waits', async () => {
    const { b, alice } = await acquainted()

    const fresh = await alice.human.startFresh()
    const a = await fresh.tab()
    await eventually(() => ready(a), 'the fresh one is ready')
    await write(a, 'it is me again')

    await eventually(() => textsOf(b).includes('it is me again'), 'it arrives')
    await write(b, 'welcome back')
    await eventually(() => textsOf(a).includes('welcome back'), 'the answer arrives')
    expect(room(b).trust).toBe('unverified')
    expect(room(b).restarts).toEqual([{ side: 0, at: expect.any(Number) as number, afterN: 2 }])
    expect(room(a).restarts).toHaveLength(1)
    expect(room(a).entries.map(({ shown }) => shown.kind)).toEqual(['lost', 'lost', 'text', 'text'])
    expect(room(a).history).toMatchObject({ checked: 4, total: 4 })
    calm(a, b, await reload(fresh))
  })

  test('gets what was waiting only after a tap', async () => {
    const { b, alice, bob, server, stored } = await acquainted()
    server.refuse = (type) => (type === 'envelope.send' ? { code: 'unavailable', retryAfter: 1 } : null)
    await write(b, 'for the alice I knew')
    await eventually(() => room(b).sender.pause !== null, 'it waits')

    const a = await (await alice.human.startFresh()).tab()
    await eventually(() => room(b).heldMessages === 1, 'it is held')
    server.refuse = () => null
    await nextSecond()
    expect(stored.rows).toHaveLength(2)
    expect(room(b).canSend).toBe(false)
    const again = await reload(bob)
    await eventually(() => room(again).heldMessages === 1, 'it is held after a reload, too')

    await room(again).sendWaiting()

    await eventually(() => textsOf(a).includes('for the alice I knew'), 'it arrives')
    expect(room(again).heldMessages).toBe(0)
    calm(a, again)
  })

  test('after a comparison gets nothing until the numbers are compared again', async () => {
    const { a, b, alice, stored } = await acquainted()
    await room(b).theyMatch()
    expect(room(b).trust).toBe('verified')
    expect(await room(b).safetyNumber()).toBe(await room(a).safetyNumber())
    expect(room(b).compareCode(room(a).safetyCode ?? '')).toBe('fits')
    expect(room(b).compareCode('https://example.org')).toBe('no_code')

    const fresh = await (await alice.human.startFresh()).tab()
    await eventually(() => room(b).trust === 'changed', 'the change shows')
    await write(b, 'are you alice?')
    await nextSecond()
    expect(stored.rows).toHaveLength(2)

    await eventually(() => ready(fresh), 'the fresh one is ready')
    expect(room(b).compareCode(room(fresh).safetyCode ?? '')).toBe('fits')
    await room(b).theyMatch()
    expect(room(b).trust).toBe('verified')
    await eventually(() => textsOf(fresh).includes('are you alice?'), 'it arrives')
    calm(b, fresh)
  })

  test('after a comparison can be taken once without another', async () => {
    const { b, alice, bob } = await acquainted()
    await room(b).theyMatch()
    const fresh = await (await alice.human.startFresh()).tab()
    await eventually(() => room(b).trust === 'changed', 'the change shows')

    await room(b).sendAnywayOnce()

    expect(room(b).trust).toBe('unverified')
    await write(b, 'whoever you are')
    await eventually(() => textsOf(fresh).includes('whoever you are'), 'it arrives')
    expect(room(await reload(bob)).trust).toBe('unverified')
  })

  test('and was compared in one browser is not taken there because another browser took it', async () => {
    const { b, alice, bob, server } = await acquainted()
    const other = await bob.human.signIn()
    await reload(other)
    const me = server.people.get(bob.keys.name)
    if (me === undefined) throw new Error('There is no bob.')
    await b.session.keep()
    const before = me.vault
    await room(b).theyMatch()
    await b.session.keep()
    b.crash()

    // The server shows the other browser a vault without the comparison, and takes what that makes of it.
    me.vault = before
    await alice.human.startFresh()
    expect(room(await reload(other)).trust).toBe('unverified')
    await eventually(() => me.vault.version > before.version, 'it is written')
    for (let version = me.vault.version; version <= before.version + 1; version = me.vault.version) {
      other.tabs[0]?.session.setSharesRead(version % 2 === 0)
      await other.tabs[0]?.session.keep()
    }

    const again = await reload(bob)
    expect(trustOf(again)).toEqual({ trust: 'changed', canSend: false })
    await room(again).sendAnywayOnce()
    expect(room(again).trust).toBe('unverified')
    calm(again)
  })

  test('is followed where another browser has compared the new numbers', async () => {
    const { b, alice, bob } = await acquainted()
    const other = await bob.human.signIn()
    await room(b).theyMatch()
    await b.session.keep()
    b.crash()
    await alice.human.startFresh()
    const o = await reload(other)
    expect(room(o).trust).toBe('changed')

    await room(o).theyMatch()
    await o.session.keep()

    const again = await reload(bob)
    expect(room(again).trust).toBe('verified')
    calm(again)
  })

  test('is refused where the chain does not contain what was pinned', async () => {
    const { b, alice, bob, server } = await acquainted()
    b.crash()
    const stranger = await new Human(alice.keys.name, server, alice.human.conversation).signUp()
    started.push(stranger.human)

    const again = await bob.tab()

    await eventually(() => again.session.selected?.alarm === 'identity_changed', 'an alarm')
    expect(room(again).canSend).toBe(false)
  })
})

describe('a conversation that the server gives to somebody else', () => {
  type Lie = (summary: Summary) => Summary
  const lies: Record<string, Lie> = {
    'under another name': (summary) => ({ ...summary, peer: 'carol' }),
    'with the sides swapped': (summary) => ({ ...summary, side: summary.side === 0 ? 1 : 0 }),
  }

  async function lied(lie: Lie): Promise<Cast & { a: Tab; b: Tab }> {
    const all = await acquainted()
    const { server, bob } = all
    server.tamper = (frame, to) => {
      if (to !== bob.keys.name) return frame
      if (frame.type === 'conversation.changed') return { ...frame, summary: lie(frame.summary) }
      return frame.type === 'conversations' ? { ...frame, items: frame.items.map(lie) } : frame
    }
    return all
  }

  test.each(Object.entries(lies))('%s stays what it was, and nothing is sent', async (_, lie) => {
    const { b, server, stored } = await lied(lie)
    const { peer, side } = room(b).summary

    server.changed(stored)

    await eventually(() => room(b).alarm === 'renamed', 'an alarm')
    expect(room(b).summary).toMatchObject({ peer, side })
    await write(b, 'who are you?')
    await nextSecond()
    expect(stored.rows).toHaveLength(2)
  })

  test('in the list after a reconnect is an alarm as well', async () => {
    const { b, bob, server } = await lied((summary) => ({ ...summary, peer: 'carol' }))

    server.cut(bob.keys.name)

    await eventually(() => room(b).alarm === 'renamed', 'an alarm')
  })

  test('whose name is only written in capitals is the same', async () => {
    const { a, b, server, stored } = await lied((summary) => ({
      ...summary,
      peer: summary.peer.toUpperCase(),
    }))

    server.changed(stored)

    await write(b, 'still you')
    await arrived(3, a, b)
    calm(a, b)
  })
})

describe('another conversation under the name of a friend', () => {
  /** In place of the one that is known. */
  async function replaced({ server, stored }: Cast): Promise<string> {
    const { id } = await server.befriend(newUuid(systemRandom), ...stored.members)
    server.conversations.delete(stored.id)
    return id
  }

  async function opened(browser: Browser, id: string): Promise<Tab> {
    for (const tab of [...browser.tabs]) tab.crash()
    const tab = await browser.tab()
    await eventually(() => tab.session.conversations.some((one) => one.id === id), 'it is listed')
    tab.session.select(id)
    await eventually(() => ready(tab) || room(tab).alarm !== null, 'it is checked')
    return tab
  }

  async function stranger({ alice, server }: Cast, id: string): Promise<Browser> {
    const human = new Human(alice.keys.name, server, id)
    started.push(human)
    await human.signUp()
    // The first browser of that name has kept what the friend's was shown.
    return human.signIn()
  }

  test.each([true, false])(
    'of a stranger gets nothing until the person decides (compared before: %s)',
    async (isCompared) => {
      const all = await acquainted()
      const { a, b, bob } = all
      if (isCompared) await room(b).theyMatch()
      a.crash()
      const id = await replaced(all)
      const other = await (await stranger(all, id)).tab()
      await eventually(() => ready(other), 'the stranger is ready')

      expect(trustOf(await opened(bob, id))).toEqual({ trust: 'changed', canSend: false })
      const again = await opened(bob, id)
      expect(trustOf(again)).toEqual({ trust: 'changed', canSend: false })

      await room(again).sendAnywayOnce()
      await write(again, 'whoever you are')
      await eventually(() => textsOf(other).includes('whoever you are'), 'it arrives')
      const last = await opened(bob, id)
      expect(room(last).trust).toBe('unverified')
      calm(last, other)
    },
  )

  test('of a stranger can be told apart by their numbers', async () => {
    const all = await acquainted()
    const { bob } = all
    const id = await replaced(all)
    const other = await (await stranger(all, id)).tab()
    const b = await opened(bob, id)

    await room(b).theyDoNotMatch()

    const again = await opened(bob, id)
    expect(trustOf(again)).toEqual({ trust: 'mismatch', canSend: false })
    await eventually(() => ready(other), 'the stranger is ready')
    expect(room(again).compareCode(room(other).safetyCode ?? '')).toBe('fits')
    await room(again).theyMatch()
    expect(room(again).trust).toBe('verified')
  })

  test('of a stranger is noticed in a browser that knows the friend from the vault alone', async () => {
    const all = await acquainted()
    await room(all.b).theyMatch()
    await all.b.session.keep()
    const second = await all.bob.human.signIn()
    const id = await replaced(all)
    await stranger(all, id)

    expect(trustOf(await opened(second, id))).toEqual({ trust: 'changed', canSend: false })
  })

  test('with the same identity is as compared as the first, and goes on without a word', async () => {
    const all = await acquainted()
    await room(all.b).theyMatch()
    const id = await replaced(all)

    const b = await opened(all.bob, id)

    expect(room(b).trust).toBe('verified')
    expect(room(await opened(all.bob, id)).trust).toBe('verified')
    calm(b)
  })

  test('shows that the friend has started over since', async () => {
    const all = await acquainted()
    await room(all.b).theyMatch()
    all.b.crash()
    await all.alice.human.startFresh()
    const id = await replaced(all)

    expect(trustOf(await opened(all.bob, id))).toEqual({ trust: 'changed', canSend: false })
  })

  test('is refused with an older chain than was seen', async () => {
    const all = await acquainted()
    const alice = all.server.people.get(all.alice.keys.name)
    if (alice === undefined) throw new Error('There is no alice.')
    const older = alice.chain
    await all.alice.human.signIn()
    await opened(all.bob, all.stored.id)
    alice.chain = older
    const id = await replaced(all)

    expect(room(await opened(all.bob, id)).alarm).toBe('chain_rolled_back')
  })

  test('of another friend has nothing to do with it', async () => {
    const all = await acquainted()
    await room(all.b).theyMatch()
    const { id } = await all.server.befriend(newUuid(systemRandom), 'carol', all.bob.keys.name)
    const carol = await new Human('carol', all.server, id).signUp()
    started.push(carol.human)

    const b = await opened(all.bob, id)

    expect(trustOf(b)).toEqual({ trust: 'unverified', canSend: true })
    calm(b)
  })
})

test('one’s own identity, changed by somebody else, is an alarm of the account', async () => {
  const { a, alice, server } = await acquainted()
  server.accomplice = alice.keys.device.id
  await alice.human.startFresh()
  a.crash()

  const again = await alice.tab()

  await eventually(() => again.session.trouble !== null, 'an alarm')
  expect(again.session.trouble).toEqual({ kind: 'alarm', code: 'own_identity_changed' })
})

describe('a comparison', () => {
  test('is known to the person’s other browsers, and so is that it was taken back', async () => {
    const { a, b, bob } = await acquainted()
    const other = await (await bob.human.signIn()).tab()
    await arrived(2, other)
    await room(b).theyMatch()
    await nextSecond()
    await write(b, 'compared')
    await arrived(3, a, b, other)

    await eventually(() => room(other).trust === 'verified', 'the other browser knows')
    await room(other).unverify()
    await nextSecond()
    await write(other, 'not sure any more')
    await eventually(() => room(b).trust === 'unverified', 'the first knows')
    calm(a, b, other)
  })

  test('survives that the page is killed before the vault has it', async () => {
    const { b, bob, server } = await acquainted()
    server.apiFault = (when, method) => (when === 'before' && method === 'PUT' ? 'break' : 'pass')
    await room(b).theyMatch()
    b.crash()
    server.apiFault = () => 'pass'

    expect(room(await reload(bob)).trust).toBe('verified')

    await nextSecond()
    const other = await (await bob.human.signIn()).tab()
    await eventually(() => ready(other), 'it is ready')
    expect(room(other).trust).toBe('verified')
  })

  test('is not undone by a browser that did not know of it when the friend signs in somewhere', async () => {
    const { a, b, alice, bob } = await acquainted()
    const other = await (await bob.human.signIn()).tab()
    await arrived(2, other)
    await room(b).theyMatch()

    const third = await (await alice.human.signIn()).tab()
    await write(third, 'from my new phone')
    await arrived(3, a, b, other, third)

    await nextSecond()
    const last = await (await bob.human.signIn()).tab()
    await eventually(() => ready(last), 'it is ready')
    expect(room(last).trust).toBe('verified')
    expect(room(await reload(bob)).trust).toBe('verified')
  })

  test('that fails stops sending in all tabs until somebody clears it', async () => {
    const { a, b, bob, stored } = await acquainted()
    const b2 = await bob.tab()
    await arrived(2, b2)

    await room(b).theyDoNotMatch()

    expect(room(b).trust).toBe('mismatch')
    await write(b2, 'from the other tab')
    await nextSecond()
    expect(stored.rows).toHaveLength(2)
    await room(b).clearMismatch()
    await write(b, 'cleared')
    await eventually(() => textsOf(a).includes('cleared'), 'it arrives')
    calm(a, b)
  })
})

describe('a link', () => {
  async function invited(fingerprint: (all: Cast) => Bytes | null): Promise<Cast & { b: Tab }> {
    const all = await people()
    const a = await all.alice.tab()
    await eventually(() => ready(a), 'alice is ready')
    const code = a.session.selected?.safetyCode ?? ''
    const named = fingerprint(all) ?? fromBase64url(code.split(':')[2] ?? '')
    const { keys } = all.bob
    const api = all.server.api({ name: keys.name, device: keys.device.id })
    await expectFriend({ name: all.alice.keys.name, fingerprint: named }, { api, random: systemRandom, keys })
    const b = await all.bob.tab()
    return { ...all, b }
  }

  test('to a friend makes them verified from the start', async () => {
    const { b } = await invited(() => null)
    await eventually(() => ready(b), 'bob is ready')

    expect(room(b).trust).toBe('verified')
  })

  test('to somebody else is an alarm', async () => {
    const { b } = await invited(() => systemRandom(32))

    await eventually(() => b.session.selected?.alarm === 'link_mismatch', 'an alarm')
    expect(room(b).canSend).toBe(false)
  })
})

describe('what was read', () => {
  test('shows to the friend, and to one’s own other browsers', async () => {
    const { a, b, bob } = await acquainted()
    const other = await (await bob.human.signIn()).tab()
    await arrived(2, other)
    await write(a, 'read this')
    await arrived(3, a, b, other)
    expect(room(a).peerReadN).toBe(0)

    room(b).markRead()

    await eventually(() => room(a).peerReadN === 3, 'the friend sees it')
    await eventually(() => room(other).readN === 3, 'the other browser knows it')
    expect(room(other).unread).toBe(0)
    calm(a, b, other)
  })

  test('is not shown by who does not share it, nor to them', async () => {
    const { a, b } = await acquainted()
    b.session.setSharesRead(false)
    await write(a, 'read this')
    await arrived(3, a, b)

    room(b).markRead()
    room(a).markRead()

    await eventually(() => room(a).deliveredN === 3, 'the second tick')
    await nextSecond()
    expect(room(a).peerReadN).toBe(0)
    expect(room(b).peerReadN).toBe(0)
    expect(b.session.sharesRead).toBe(false)
    calm(a, b)
  })
})

test('a friend who is online and does not confirm is worth a word, until they do', async () => {
  const { a, b, bob, server } = await acquainted()
  b.crash()
  server.presence(bob.keys.name, true)
  await write(a, 'are you there?')
  await eventually(() => room(a).entries.length === 3, 'it is stored')
  expect(room(a).lateSince).toBeNull()

  await eventually(() => room(a).lateSince !== null, 'it is late')
  await reload(bob)
  await eventually(() => room(a).lateSince === null, 'it is confirmed')
})

test('a proof file holds both chains, both heads and every hash of the log', async () => {
  const { a, b, alice, stored } = await acquainted()
  for (let count = 3; count <= 70; count += 1) await write(a, `m${count}`)
  await arrived(70, a, b)
  await eventually(() => room(a).deliveredN === 70, 'all is confirmed')
  const again = await reload(alice)
  await room(again).checkAll()
  expect(room(again).history).toEqual({ checked: 70, total: 70, confirmed: 70 })

  const proof = JSON.parse(await room(again).exportProof()) as {
    people: { name: string; chain: string[]; head: string }[]
    hashes: string[]
    conversation: string
  }

  expect(proof).toMatchObject({ format: 'securechat-proof/1', origin: 'https://chat.example' })
  expect(proof.people.map(({ name, chain }) => [name, chain.length])).toEqual([
    [stored.members[0], 2],
    [stored.members[1], 2],
  ])
  let position = await logStart(uuidToBytes(proof.conversation))
  for (const hash of proof.hashes) position = await logNext(position, fromBase64url(hash))
  expect(position).toEqual(stored.log.at(-1))
  const head = decodeHead(fromBase64url(proof.people[1]?.head ?? ''))
  expect({ n: head.n, hash: head.hash }).toEqual(position)
})
