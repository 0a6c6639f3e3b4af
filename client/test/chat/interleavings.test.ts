import fc from 'fast-check'
import { afterEach, expect, test } from 'vitest'
import { type Browser, cast, eventually, type Tab, textsOf, write } from './cast'

/** What may happen between two people, in any order. */
const act = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('write' as const), who: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('cut' as const), who: fc.nat(1) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('crash' as const), who: fc.nat(3) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('fault' as const),
      when: fc.constantFrom('before' as const, 'after' as const),
      type: fc.constantFrom('envelope.send', 'epoch.append', 'history.get', 'head.set', 'envelopes.lookup'),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('refuse' as const),
      code: fc.constantFrom('stale_epoch', 'writer_gap', 'too_fast', 'unavailable'),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(30) }) },
)

const started: Browser[] = []

afterEach(() => {
  for (const browser of started.splice(0)) for (const tab of [...browser.tabs]) tab.crash()
})

test(
  'whatever breaks in between, every message arrives once, in one order, and nobody is alarmed',
  { timeout: 120_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(act, { minLength: 8, maxLength: 40 }), async (acts) => {
        const { alice, bob, server, stored } = await cast()
        started.push(alice, bob)
        const tabs: Tab[] = [await alice.tab(), await alice.tab(), await bob.tab(), await bob.tab()]
        const written: string[] = []
        const seen: Tab[] = [...tabs]
        for (const one of acts) {
          switch (one.kind) {
            case 'write': {
              const text = `m${written.length}`
              written.push(text)
              const tab = tabs[one.who]
              if (tab !== undefined) await write(tab, text)
              break
            }
            case 'cut':
              server.cut(one.who === 0 ? alice.keys.name : bob.keys.name)
              break
            case 'crash': {
              tabs[one.who]?.crash()
              const fresh = await (one.who < 2 ? alice : bob).tab()
              tabs[one.who] = fresh
              seen.push(fresh)
              break
            }
            case 'fault': {
              let armed = true
              server.fault = (when, type) => {
                if (!armed || when !== one.when || type !== one.type) return 'pass'
                armed = false
                return 'break'
              }
              break
            }
            case 'refuse': {
              let left = 1
              server.refuse = (type) =>
                type === 'envelope.send' && left-- > 0 ? { code: one.code, retryAfter: null } : null
              break
            }
            case 'wait':
              await new Promise((resolve) => setTimeout(resolve, one.ms))
          }
        }
        server.fault = () => 'pass'

        const complete = (tab: Tab): boolean => textsOf(tab).length >= written.length
        await eventually(() => tabs.every(complete), `all ${written.length} messages are everywhere`)
        await eventually(
          () => tabs.every(({ session }) => (session.selected?.sender.items.length ?? 0) === 0),
          'nothing waits any more',
        )

        const [order] = tabs.map(textsOf)
        expect([...(order ?? [])].sort()).toEqual([...written].sort())
        for (const tab of tabs) expect(textsOf(tab)).toEqual(order)
        for (const { session } of seen) {
          expect(session.trouble).toBeNull()
          expect(session.selected?.alarm ?? null).toBeNull()
          expect(session.selected?.entries.every(({ shown }) => shown.kind === 'text') ?? true).toBe(true)
        }
        expect(stored.rows).toHaveLength(written.length)
        for (const tab of [...alice.tabs, ...bob.tabs]) tab.crash()
      }),
      { numRuns: Number(process.env['CHAT_RUNS'] ?? 15) },
    )
  },
)
