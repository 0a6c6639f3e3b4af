import { expect, test } from 'vitest'
import { reconnectDelayMs, RetryLater } from '../../src/net/backoff'
import { CLOSED_RESTARTING, Connection, type SocketLike } from '../../src/net/socket'
import { TestClock } from './test_clock'

const ALMOST_ONE = 1 - Number.EPSILON

/** Numbers that look random, the same in every run (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

test('the ceiling doubles from one second to thirty, and the delay is anywhere below it', () => {
  const ceilings = [1, 2, 3, 4, 5, 6, 7].map((attempt) =>
    reconnectDelayMs(attempt, { firstMs: 1000, capMs: 30_000, random: () => ALMOST_ONE }),
  )

  expect(ceilings).toEqual([999, 1999, 3999, 7999, 15_999, 29_999, 29_999])
  expect(reconnectDelayMs(5, { firstMs: 1000, capMs: 30_000, random: () => 0 })).toBe(0)
})

interface Crowd {
  /** When each was served, in milliseconds after the server went. */
  readonly served: readonly number[]
  readonly busiestSecond: number
}

/** So many clients, all connected to a server that goes at the same moment and is back after `downMs`. */
function crowd(count: number, code: number, downMs: number): Crowd {
  const clock = new TestClock()
  const random = seeded(count + code + downMs)
  const start = clock.time
  const served: number[] = []
  const sockets: SocketLike[] = []
  let isUp = true
  for (let number = 0; number < count; number += 1) {
    const connection = new Connection({
      connect: () => {
        const socket: SocketLike = {
          onopen: null,
          onmessage: null,
          onclose: null,
          send: () => undefined,
          close: () => undefined,
        }
        sockets.push(socket)
        clock.after(0, () => {
          if (!isUp) socket.onclose?.({ code: 1006 })
          else {
            const welcome = { type: 'welcome', name: 'Alice', server_time: 1, requests: 0, presence: [] }
            socket.onmessage?.({ data: JSON.stringify(welcome) })
            if (clock.time > start) served.push(clock.time - start)
          }
        })
        return socket
      },
      clock,
      random,
      isOnline: () => true,
      onState: () => undefined,
      onPush: () => undefined,
    })
    connection.start()
  }
  clock.pass(0)
  isUp = false
  for (const socket of sockets.splice(0)) socket.onclose?.({ code })
  clock.after(downMs, () => {
    isUp = true
  })
  while (served.length < count) clock.pass(1_000)
  served.sort((one, other) => one - other)
  let [first, busiestSecond] = [0, 0]
  for (const [last, at] of served.entries()) {
    while (at - (served[first] ?? at) >= 1_000) first += 1
    busiestSecond = Math.max(busiestSecond, last - first + 1)
  }
  return { served, busiestSecond }
}

test.each([0, 1_000, 3_000, 5_000])(
  'of 2,000 clients that a restart cut off at one moment no second sees more than 400, after %i ms',
  (downMs) => {
    const { served, busiestSecond } = crowd(2_000, CLOSED_RESTARTING, downMs)

    expect(busiestSecond).toBeLessThan(400)
    expect(served.at(-1)).toBeLessThan(60_000)
  },
)

test('of 2,000 clients of a server that was killed and is back after 3 s no second sees more than 800', () => {
  expect(crowd(2_000, 1006, 3_000).busiestSecond).toBeLessThan(800)
})

test('what failed is tried again after longer and longer pauses, of which at least half is waited', () => {
  for (const [random, expected] of [
    [() => ALMOST_ONE, [999, 1999, 3999, 7999, 15_999, 29_999, 29_999]],
    [() => 0, [500, 1000, 2000, 4000, 8000, 15_000, 15_000]],
  ] as const) {
    const clock = new TestClock()
    const later = new RetryLater({ clock, jitter: random }, () => undefined)
    const delays = expected.map(() => {
      later.failed()
      const delay = (later.at ?? 0) - clock.time
      clock.pass(delay)
      return delay
    })

    expect(delays).toEqual(expected)
  }
})

test('what failed for several reasons is tried again once', () => {
  const clock = new TestClock()
  let tries = 0
  const later = new RetryLater({ clock, jitter: () => 0.5 }, () => {
    tries += 1
  })
  for (let count = 0; count < 10; count += 1) later.failed()

  clock.pass(60_000)

  expect(tries).toBe(1)
  expect(later.at).toBeNull()
})

test('a success begins from the start, and nobody has to wait who asks', () => {
  const clock = new TestClock()
  let tries = 0
  const later = new RetryLater({ clock, jitter: () => 0 }, () => {
    tries += 1
  })
  later.failed()
  later.now()
  later.now()
  expect(tries).toBe(1)

  later.succeeded()
  later.failed()

  expect((later.at ?? 0) - clock.time).toBe(500)
})
