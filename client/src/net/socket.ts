/**
 * The one connection of a tab: requests answered by `ref`, frames that nobody asked for, and reconnecting.
 *
 * It promises nothing about messages: a request whose connection broke may or may not have been carried out.
 */
import {
  type ClientFrame,
  type ServerFrame,
  type ServerFrameOf,
  decodeServerFrame,
  encodeClientFrame,
} from '../wire/frames'
import { reconnectDelayMs } from './backoff'
import type { Clock } from './clock'

export const CLOSED_SIGNED_OUT = 4401
export const CLOSED_TOO_MANY = 4429
export const CLOSED_RESTARTING = 1012
const CLOSED_BY_US = 1000

const FIRST_DELAY_MS = 1_000
const LONGEST_DELAY_MS = 30_000
/**
 * A server that says that it restarts says it to everybody at once. They come back spread over this time and not in its
 * first second: of 2,000 about 200 a second.
 */
const RESTART_SPREAD_MS = 10_000
/** A connection that lived this long was a good one: the next break starts counting from 1 again. */
const STABLE_AFTER_MS = 5_000
/** A server that closed with 4429 is not asked again sooner. */
const TOO_MANY_PAUSE_MS = 15_000
const OPEN_TIMEOUT_MS = 15_000
const QUIET_BEFORE_PING_MS = 20_000
const PONG_TIMEOUT_MS = 8_000
/** The browser says that the network is gone: a server on the same machine may answer all the same. */
const PONG_TIMEOUT_OFFLINE_MS = 2_000
const ANSWER_TIMEOUT_MS = 30_000

type WithoutRef<T> = T extends unknown ? Omit<T, 'ref'> : never
export type Request = WithoutRef<ClientFrame>

/** The answer that each request has when it is not refused. */
export interface Answers {
  'conversations.list': ServerFrameOf<'conversations'>
  'epochs.get': ServerFrameOf<'epochs'>
  'epoch.append': ServerFrameOf<'epoch.appended'>
  'chain.get': ServerFrameOf<'chain'>
  'envelope.send': ServerFrameOf<'envelope.stored'>
  'envelopes.lookup': ServerFrameOf<'envelopes.found'>
  'history.get': ServerFrameOf<'history'>
  'head.set': ServerFrameOf<'head.stored'>
  ping: ServerFrameOf<'pong'>
}

const ANSWER_TYPES: { readonly [T in keyof Answers]: Answers[T]['type'] } = {
  'conversations.list': 'conversations',
  'epochs.get': 'epochs',
  'epoch.append': 'epoch.appended',
  'chain.get': 'chain',
  'envelope.send': 'envelope.stored',
  'envelopes.lookup': 'envelopes.found',
  'history.get': 'history',
  'head.set': 'head.stored',
  ping: 'pong',
}

/** What arrives without having been asked for. */
export type Push = Exclude<ServerFrame, { readonly ref: number }>

export type Ask = <T extends keyof Answers>(
  request: Extract<Request, { readonly type: T }>,
) => Promise<Answers[T]>

/** The server answered, and said no. */
export class Refused extends Error {
  override readonly name = 'Refused'

  constructor(
    readonly code: string,
    message: string,
    /** Seconds, or null where waiting does not help. */
    readonly retryAfter: number | null,
  ) {
    super(message)
  }
}

/** The connection broke before the answer came: it is not known whether the request was carried out. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost'

  constructor(readonly closeCode: number | null) {
    super('The connection broke before the answer.')
  }
}

export type ConnectionState =
  | { readonly kind: 'connecting'; readonly since: number }
  | { readonly kind: 'open' }
  | {
      readonly kind: 'waiting'
      readonly retryAt: number
      readonly because: 'lost' | 'restart' | 'too_many'
    }
  | { readonly kind: 'offline' }
  | { readonly kind: 'signed_out' }
  | { readonly kind: 'stopped' }

/** The part of a browser's `WebSocket` that is used. */
export interface SocketLike {
  onopen: (() => void) | null
  onmessage: ((event: { readonly data: unknown }) => void) | null
  onclose: ((event: { readonly code: number }) => void) | null
  send(text: string): void
  close(code?: number): void
}

export interface ConnectionOptions {
  readonly connect: () => SocketLike
  readonly clock: Clock
  readonly random: () => number
  readonly isOnline: () => boolean
  readonly onState: (state: ConnectionState) => void
  /** `welcome` is the first on every connection. */
  readonly onPush: (frame: Push) => void
}

interface Waiting {
  readonly answer: ServerFrame['type']
  readonly settle: (outcome: { frame: ServerFrame } | { error: Error }) => void
}

export class Connection {
  #state: ConnectionState = { kind: 'stopped' }
  #socket: SocketLike | null = null
  #attempt = 0
  /** From the close code of a server that restarts until it is back. */
  #isRestarting = false
  #lastRef = 0
  readonly #waiting = new Map<number, Waiting>()
  #cancelTimer: () => void = () => undefined
  #cancelKeepAlive: () => void = () => undefined
  #cancelStable: () => void = () => undefined

  constructor(private readonly options: ConnectionOptions) {}

  get state(): ConnectionState {
    return this.#state
  }

  start(): void {
    if (this.#state.kind === 'stopped') this.#connect()
  }

  stop(): void {
    this.#drop(CLOSED_BY_US)
    this.#move({ kind: 'stopped' })
  }

  /** Now, because the person asked, the network came back, or the page is looked at again. */
  retryNow(): void {
    if (this.#state.kind === 'waiting' && this.#state.because === 'too_many') return
    if (this.#state.kind === 'waiting' || this.#state.kind === 'offline') this.#connect()
    else if (this.#state.kind === 'open') this.#ping()
  }

  wentOffline(): void {
    if (this.#state.kind === 'waiting' || this.#state.kind === 'connecting') {
      this.#drop(CLOSED_BY_US)
      this.#goOffline()
    } else if (this.#state.kind === 'open') this.#ping(PONG_TIMEOUT_OFFLINE_MS)
  }

  /** Rejects with `Refused`, or with `ConnectionLost` when the connection is not open or breaks before the answer. */
  ask: Ask = async (request) => {
    const answer = await this.#request(request)
    return answer as never
  }

  #request(request: Request): Promise<ServerFrame> {
    const socket = this.#socket
    if (socket === null || this.#state.kind !== 'open') return Promise.reject(new ConnectionLost(null))
    const ref = ++this.#lastRef
    const text = encodeClientFrame({ ...request, ref })
    return new Promise((resolve, reject) => {
      const callOff = this.options.clock.after(ANSWER_TIMEOUT_MS, () => {
        this.#broken(null)
      })
      this.#waiting.set(ref, {
        answer: ANSWER_TYPES[request.type],
        settle: (outcome) => {
          callOff()
          this.#waiting.delete(ref)
          if ('frame' in outcome) resolve(outcome.frame)
          else reject(outcome.error)
        },
      })
      socket.send(text)
    })
  }

  #connect(): void {
    this.#drop(CLOSED_BY_US)
    this.#attempt += 1
    this.#move({ kind: 'connecting', since: this.options.clock.now() })
    const socket = this.options.connect()
    this.#socket = socket
    this.#cancelTimer = this.options.clock.after(OPEN_TIMEOUT_MS, () => {
      this.#broken(null)
    })
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket) this.#receive(data)
    }
    socket.onclose = ({ code }) => {
      if (socket === this.#socket) this.#broken(code)
    }
  }

  #receive(data: unknown): void {
    let frame: ServerFrame
    try {
      if (typeof data !== 'string') throw new Error('The server sent something else than text.')
      frame = decodeServerFrame(data)
    } catch {
      // What cannot be read cannot be answered either; a fresh connection asks again for all that matters.
      this.#broken(null)
      return
    }
    this.#expectQuiet()
    if (frame.type === 'welcome') this.#opened()
    if ('ref' in frame && frame.ref !== null) this.#answered(frame.ref, frame)
    else this.options.onPush(frame as Push)
  }

  #answered(ref: number, frame: ServerFrame): void {
    const waiting = this.#waiting.get(ref)
    if (waiting === undefined) return
    if (frame.type === 'refused') {
      waiting.settle({ error: new Refused(frame.code, frame.message, frame.retryAfter) })
    } else if (frame.type === waiting.answer) {
      waiting.settle({ frame })
    } else {
      this.#broken(null)
    }
  }

  #opened(): void {
    this.#cancelTimer()
    this.#isRestarting = false
    this.#cancelStable = this.options.clock.after(STABLE_AFTER_MS, () => {
      this.#attempt = 0
    })
    this.#move({ kind: 'open' })
  }

  /** Anything that arrives proves that the server is there; after a while without, it is asked. */
  #expectQuiet(): void {
    this.#cancelKeepAlive()
    this.#cancelKeepAlive = this.options.clock.after(QUIET_BEFORE_PING_MS, () => {
      this.#ping()
    })
  }

  #ping(timeoutMs = PONG_TIMEOUT_MS): void {
    this.#cancelKeepAlive()
    this.#cancelKeepAlive = this.options.clock.after(timeoutMs, () => {
      this.#broken(null)
    })
    this.#request({ type: 'ping' }).catch(() => undefined)
  }

  #broken(code: number | null): void {
    const lived = this.#state.kind === 'open'
    this.#drop(code)
    if (code === CLOSED_SIGNED_OUT) {
      this.#move({ kind: 'signed_out' })
      return
    }
    if (!this.options.isOnline()) {
      this.#goOffline()
      return
    }
    if (code === CLOSED_RESTARTING) this.#isRestarting = true
    const attempt = Math.max(1, lived && this.#attempt === 0 ? 1 : this.#attempt)
    const jittered = reconnectDelayMs(attempt, {
      firstMs: FIRST_DELAY_MS,
      capMs: LONGEST_DELAY_MS,
      random: this.options.random,
      spreadMs: this.#isRestarting ? RESTART_SPREAD_MS : 0,
    })
    const isTooMany = code === CLOSED_TOO_MANY
    const delayMs = isTooMany ? TOO_MANY_PAUSE_MS + jittered : jittered
    const because = isTooMany ? 'too_many' : this.#isRestarting ? 'restart' : 'lost'
    this.#move({ kind: 'waiting', retryAt: this.options.clock.now() + delayMs, because })
    this.#cancelTimer = this.options.clock.after(delayMs, () => {
      this.#connect()
    })
  }

  #goOffline(): void {
    this.#move({ kind: 'offline' })
    this.#cancelTimer = this.options.clock.after(LONGEST_DELAY_MS, () => {
      this.#connect()
    })
  }

  /** Lets go of the socket, of every timer, and of whoever waits for an answer. */
  #drop(code: number | null): void {
    const socket = this.#socket
    this.#socket = null
    this.#cancelTimer()
    this.#cancelKeepAlive()
    this.#cancelStable()
    if (socket !== null) {
      socket.onmessage = null
      socket.onclose = null
      socket.close(CLOSED_BY_US)
    }
    for (const waiting of [...this.#waiting.values()]) waiting.settle({ error: new ConnectionLost(code) })
  }

  #move(state: ConnectionState): void {
    this.#state = state
    this.options.onState(state)
  }
}

/** The browser's socket to `path` of this site. */
export function browserSocket(path: string): SocketLike {
  const url = new URL(path, location.href)
  url.protocol = url.protocol === 'http:' ? 'ws:' : 'wss:'
  return new WebSocket(url) as SocketLike
}
