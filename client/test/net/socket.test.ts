import { expect, test } from 'vitest'
import {
  Connection,
  ConnectionLost,
  type ConnectionState,
  type Push,
  Refused,
  type SocketLike,
} from '../../src/net/socket'
import { TestClock } from './test_clock'

class TestSocket implements SocketLike {
  onopen: (() => void) | null = null
  onmessage: ((event: { readonly data: unknown }) => void) | null = null
  onclose: ((event: { readonly code: number }) => void) | null = null
  readonly sent: Record<string, unknown>[] = []
  closed = false

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>)
  }

  close(): void {
    this.closed = true
  }

  receive(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) })
  }

  welcome(): void {
    this.receive({ type: 'welcome', name: 'Alice', server_time: 1, requests: 2, presence: [] })
  }
}

interface Bench {
  readonly clock: TestClock
  readonly sockets: TestSocket[]
  readonly states: ConnectionState[]
  readonly pushes: Push[]
  readonly connection: Connection
  online: boolean
  readonly socket: () => TestSocket
}

function bench(random = 1 - Number.EPSILON): Bench {
  const clock = new TestClock()
  const made: Bench = {
    clock,
    sockets: [],
    states: [],
    pushes: [],
    online: true,
    connection: new Connection({
      connect: () => {
        const socket = new TestSocket()
        made.sockets.push(socket)
        return socket
      },
      clock,
      random: () => random,
      isOnline: () => made.online,
      onState: (state) => made.states.push(state),
      onPush: (frame) => made.pushes.push(frame),
    }),
    socket: () => {
      const socket = made.sockets.at(-1)
      if (socket === undefined) throw new Error('Nothing was connected.')
      return socket
    },
  }
  return made
}

function opened(random?: number): Bench {
  const made = bench(random)
  made.connection.start()
  made.socket().welcome()
  return made
}

test('it is open once the server has said welcome', () => {
  const { connection, states, pushes } = opened()

  expect(states.map(({ kind }) => kind)).toEqual(['connecting', 'open'])
  expect(pushes).toMatchObject([{ type: 'welcome', name: 'Alice', requests: 2 }])
  expect(connection.state.kind).toBe('open')
})

test('answers find their questions by ref, in any order', async () => {
  const { connection, socket } = opened()
  const first = connection.ask({ type: 'conversations.list', before: null })
  const second = connection.ask({ type: 'ping' })
  const [list, ping] = socket().sent

  socket().receive({ type: 'pong', ref: ping?.['ref'] })
  socket().receive({ type: 'conversations', ref: list?.['ref'], items: [], more: false })

  expect((await second).type).toBe('pong')
  expect((await first).items).toEqual([])
})

test('a refusal rejects with its code and its pause', async () => {
  const { connection, socket } = opened()
  const asked = connection.ask({ type: 'ping' })

  socket().receive({ type: 'refused', ref: 1, code: 'too_fast', message: 'Slow down.', retry_after: 7 })

  await expect(asked).rejects.toEqual(new Refused('too_fast', 'Slow down.', 7))
  await expect(asked).rejects.toMatchObject({ code: 'too_fast', retryAfter: 7 })
})

test('what waits for an answer is told when the connection breaks, and with which code', async () => {
  const { connection, socket } = opened()
  const asked = connection.ask({ type: 'ping' })

  socket().onclose?.({ code: 1012 })

  await expect(asked).rejects.toBeInstanceOf(ConnectionLost)
  await expect(asked).rejects.toMatchObject({ closeCode: 1012 })
  await expect(connection.ask({ type: 'ping' })).rejects.toBeInstanceOf(ConnectionLost)
})

test('breaks in a row wait longer and longer; a connection that held starts from the beginning', () => {
  const made = opened()
  const delays: number[] = []
  for (let round = 1; round <= 4; round += 1) {
    made.socket().onclose?.({ code: 1006 })
    const { state } = made.connection
    if (state.kind !== 'waiting') throw new Error(`It is ${state.kind}.`)
    delays.push(state.retryAt - made.clock.time)
    made.clock.pass(delays.at(-1) ?? 0)
  }

  expect(delays).toEqual([999, 1999, 3999, 7999])
  made.socket().welcome()
  made.clock.pass(5_000)
  made.socket().onclose?.({ code: 1006 })
  expect(made.connection.state).toMatchObject({ kind: 'waiting', retryAt: made.clock.time + 999 })
})

test('the network coming back does not wait for the pause to end', () => {
  const made = opened()
  made.socket().onclose?.({ code: 1006 })

  made.connection.retryNow()

  expect(made.sockets).toHaveLength(2)
  expect(made.connection.state.kind).toBe('connecting')
})

test('a signed-out socket is not tried again', () => {
  const made = opened()

  made.socket().onclose?.({ code: 4401 })
  made.clock.pass(600_000)
  made.connection.retryNow()

  expect(made.connection.state.kind).toBe('signed_out')
  expect(made.sockets).toHaveLength(1)
})

test('too many connections wait at least fifteen seconds', () => {
  const made = opened(0)

  made.socket().onclose?.({ code: 4429 })
  made.clock.pass(14_999)
  expect(made.sockets).toHaveLength(1)
  made.clock.pass(1)

  expect(made.sockets).toHaveLength(2)
})

test('nobody is asked again sooner because the page was looked at, after too many connections', () => {
  const made = opened(0)
  made.socket().onclose?.({ code: 4429 })

  made.connection.retryNow()

  expect(made.connection.state).toMatchObject({ kind: 'waiting', because: 'too_many' })
  expect(made.sockets).toHaveLength(1)
})

test('a server that restarts is left alone for longer, until it is back', () => {
  const made = opened()
  const delays: number[] = []
  for (const code of [1012, 1006, 1006]) {
    made.socket().onclose?.({ code })
    const { state } = made.connection
    if (state.kind !== 'waiting') throw new Error(`It is ${state.kind}.`)
    delays.push(state.retryAt - made.clock.time)
    made.clock.pass(delays.at(-1) ?? 0)
  }

  expect(delays).toEqual([9_999, 9_999, 9_999])
  expect(made.states.filter(({ kind }) => kind === 'waiting')).toMatchObject([
    { because: 'restart' },
    { because: 'restart' },
    { because: 'restart' },
  ])
  made.socket().welcome()
  made.clock.pass(5_000)
  made.socket().onclose?.({ code: 1006 })
  expect(made.connection.state).toMatchObject({ because: 'lost', retryAt: made.clock.time + 999 })
})

test('a peer that says nothing for long is asked, and given up when it does not answer', () => {
  const made = opened()

  made.clock.pass(20_000)
  expect(made.socket().sent).toMatchObject([{ type: 'ping' }])
  made.clock.pass(8_000)

  expect(made.connection.state.kind).toBe('waiting')
  expect(made.sockets[0]?.closed).toBe(true)
})

test('a peer that answers the ping is kept', () => {
  const made = opened()

  for (let round = 1; round <= 5; round += 1) {
    made.clock.pass(20_000)
    made.socket().receive({ type: 'pong', ref: made.socket().sent.at(-1)?.['ref'] })
  }

  expect(made.connection.state.kind).toBe('open')
})

test('offline says so, tries now and then, and at once when asked', () => {
  const made = opened()
  made.online = false
  made.socket().onclose?.({ code: 1006 })
  expect(made.connection.state.kind).toBe('offline')

  made.clock.pass(30_000)
  expect(made.sockets).toHaveLength(2)
  made.connection.wentOffline()
  made.connection.retryNow()

  expect(made.sockets).toHaveLength(3)
})

test('frames that are none of the protocol end the connection', () => {
  for (const frame of [{ type: 'nonsense' }, { type: 'pong', ref: -1 }, { type: 'presence' }]) {
    const made = opened()

    made.socket().receive(frame)

    expect(made.connection.state.kind).toBe('waiting')
  }
})

test('an answer of the wrong kind ends the connection', async () => {
  const made = opened()
  const asked = made.connection.ask({ type: 'conversations.list', before: null })

  made.socket().receive({ type: 'pong', ref: 1 })

  await expect(asked).rejects.toBeInstanceOf(ConnectionLost)
})
