import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { announceConnected, watchBuild } from '../../src/ui/build_notice'
import type { RunningBuild } from '../../src/wire/build'

const MINUTE = 60_000
const OWN = 'a'.repeat(64)
const NEWER = 'b'.repeat(64)

/** As much of a document as is asked for: events, whether it is seen, and the build that it belongs to. */
class Page extends EventTarget {
  visibilityState = 'visible'

  querySelector(): { readonly content: string } {
    return { content: OWN }
  }

  become(state: 'visible' | 'hidden'): void {
    this.visibilityState = state
    this.dispatchEvent(new Event('visibilitychange'))
  }
}

interface Watched {
  readonly page: Page
  readonly shown: RunningBuild[]
  asked: number
  running: unknown
}

function watched(): Watched {
  const page = new Page()
  const watched: Watched = { page, shown: [], asked: 0, running: { version: '1', fingerprint: OWN } }
  watchBuild({
    page: page as unknown as Document,
    ask: () => {
      watched.asked += 1
      return watched.running instanceof Error
        ? Promise.reject(watched.running)
        : Promise.resolve(watched.running)
    },
    now: Date.now,
    show: (build) => watched.shown.push(build),
  })
  return watched
}

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

test('a page that is looked at asks every ten minutes, a hidden one does not', async () => {
  const it = watched()

  await vi.advanceTimersByTimeAsync(9 * MINUTE)
  expect(it.asked).toBe(0)
  await vi.advanceTimersByTimeAsync(2 * MINUTE)
  expect(it.asked).toBe(1)
  it.page.become('hidden')
  await vi.advanceTimersByTimeAsync(60 * MINUTE)
  expect(it.asked).toBe(1)
  it.page.become('visible')
  await vi.advanceTimersByTimeAsync(0)
  expect(it.asked).toBe(2)
  it.page.become('hidden')
  it.page.become('visible')
  await vi.advanceTimersByTimeAsync(0)
  expect(it.asked).toBe(2)
})

test('a new socket asks at once, but not the first one of the page', async () => {
  const it = watched()

  announceConnected(it.page as unknown as Document)
  await vi.advanceTimersByTimeAsync(0)
  expect(it.asked).toBe(0)
  await vi.advanceTimersByTimeAsync(MINUTE / 2)
  announceConnected(it.page as unknown as Document)
  await vi.advanceTimersByTimeAsync(0)
  expect(it.asked).toBe(1)
})

test('another build is shown once, and then nothing is asked any more', async () => {
  const it = watched()
  it.running = { version: '2', fingerprint: NEWER }

  await vi.advanceTimersByTimeAsync(60 * MINUTE)

  expect(it.shown).toEqual([{ version: '2', fingerprint: NEWER }])
  expect(it.asked).toBe(1)
})

test.each([new TypeError('no network'), 'nonsense', { version: '2', fingerprint: 'short' }, null])(
  'no answer or a strange one is no news: %s',
  async (answer) => {
    const it = watched()
    it.running = answer

    await vi.advanceTimersByTimeAsync(25 * MINUTE)

    expect(it.shown).toEqual([])
    expect(it.asked).toBe(2)
  },
)
