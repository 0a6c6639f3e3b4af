/** The frames of the socket (docs/protocol.md, section 7). What arrives is checked field by field before anything reads it. */
import { type Bytes, MalformedData } from './bytes'
import {
  arrayOf,
  bytes,
  bytesOfLength,
  count,
  type Decoder,
  exactObject,
  flag,
  literal,
  object,
  orNull,
  parseJson,
  positive,
  text,
  toWire,
  uuid,
} from './json'
import type { Side } from './objects'

export type { Side } from './objects'

export const MAX_ENVELOPE_BYTES = 65_536

export type ClientFrame =
  | { readonly type: 'conversations.list'; readonly ref: number; readonly before: string | null }
  | {
      readonly type: 'epochs.get'
      readonly ref: number
      readonly conversation: string
      readonly after: number
    }
  | {
      readonly type: 'epoch.append'
      readonly ref: number
      readonly conversation: string
      readonly epoch: number
      readonly record: Bytes
    }
  | {
      readonly type: 'chain.get'
      readonly ref: number
      readonly conversation: string
      readonly whose: 'own' | 'peer'
      readonly after: number
    }
  | {
      readonly type: 'envelope.send'
      readonly ref: number
      readonly conversation: string
      readonly clientId: string
      readonly epoch: number
      readonly envelope: Bytes
    }
  | {
      readonly type: 'envelopes.lookup'
      readonly ref: number
      readonly conversation: string
      readonly clientIds: readonly string[]
    }
  | {
      readonly type: 'history.get'
      readonly ref: number
      readonly conversation: string
      readonly direction: 'before' | 'after'
      readonly n: number
      readonly limit: number
    }
  | { readonly type: 'head.set'; readonly ref: number; readonly conversation: string; readonly head: Bytes }
  | { readonly type: 'ping'; readonly ref: number }

/** A stored envelope. `n` counts from 1 within its conversation, `storedAt` is the server's clock in milliseconds. */
export interface Row {
  readonly n: number
  readonly side: Side
  readonly clientId: string
  readonly envelope: Bytes
  readonly storedAt: number
}

/** One line of the list of chats. `online` is null when the server does not know, `epoch` 0 before the first. */
export interface Summary {
  readonly conversation: string
  readonly peer: string
  /** One's own. */
  readonly side: Side
  readonly open: boolean
  readonly online: boolean | null
  readonly lastN: number
  readonly epoch: number
  readonly peerHasKeys: boolean
  /** The account is gone; its key chain is left for the history. */
  readonly peerDeleted: boolean
  readonly last: Row | null
  /** The signed heads, by side. */
  readonly heads: readonly [Bytes | null, Bytes | null]
  readonly activeAt: number
}

export interface Presence {
  readonly conversation: string
  readonly online: boolean | null
}

export interface Stored {
  readonly clientId: string
  readonly n: number
  readonly storedAt: number
}

interface FrameFields {
  welcome: {
    readonly name: string
    readonly serverTime: number
    readonly requests: number
    readonly presence: readonly Presence[]
  }
  conversations: { readonly ref: number; readonly items: readonly Summary[]; readonly more: boolean }
  epochs: {
    readonly ref: number
    readonly conversation: string
    readonly records: readonly Bytes[]
    readonly more: boolean
  }
  'epoch.appended': { readonly ref: number; readonly conversation: string; readonly epoch: number }
  'epoch.new': { readonly conversation: string; readonly epoch: number; readonly record: Bytes }
  chain: {
    readonly ref: number
    readonly conversation: string
    readonly whose: 'own' | 'peer'
    readonly entries: readonly Bytes[]
    readonly more: boolean
  }
  'envelope.stored': Stored & { readonly ref: number; readonly conversation: string }
  'envelope.new': { readonly conversation: string; readonly row: Row }
  'envelopes.found': {
    readonly ref: number
    readonly conversation: string
    readonly items: readonly Stored[]
  }
  history: {
    readonly ref: number
    readonly conversation: string
    /** Ascending `n`. */
    readonly rows: readonly Row[]
    /** The log hash before the first row. */
    readonly beforeHash: Bytes
    readonly lastN: number
    readonly more: boolean
  }
  'head.stored': { readonly ref: number; readonly conversation: string }
  'head.new': { readonly conversation: string; readonly side: Side; readonly head: Bytes }
  presence: Presence
  'conversation.changed': { readonly summary: Summary }
  requests: { readonly count: number }
  'keys.changed': { readonly conversation: string | null }
  refused: {
    readonly ref: number | null
    readonly code: string
    readonly message: string
    /** Seconds. */
    readonly retryAfter: number | null
  }
  pong: { readonly ref: number }
}

export type ServerFrame = {
  [Type in keyof FrameFields]: { readonly type: Type } & FrameFields[Type]
}[keyof FrameFields]

export type ServerFrameOf<T extends ServerFrame['type']> = Extract<ServerFrame, { readonly type: T }>

const side: Decoder<Side> = (value) => {
  if (value !== 0 && value !== 1) throw new MalformedData('a side')
  return value
}

const row = exactObject<Row>({ n: positive, side, clientId: uuid, envelope: bytes, storedAt: count })
const presence = { conversation: uuid, online: orNull(flag) }
const stored = { clientId: uuid, n: positive, storedAt: count }

const heads: Decoder<readonly [Bytes | null, Bytes | null]> = (value) => {
  const [first, second, ...others] = arrayOf(orNull(bytes))(value)
  if (first === undefined || second === undefined || others.length > 0) throw new MalformedData('two heads')
  return [first, second]
}

const summary = exactObject<Summary>({
  conversation: uuid,
  peer: text,
  side,
  open: flag,
  online: orNull(flag),
  lastN: count,
  epoch: count,
  peerHasKeys: flag,
  peerDeleted: flag,
  last: orNull(row),
  heads,
  activeAt: count,
})

const decoders: { readonly [Type in keyof FrameFields]: Decoder<FrameFields[Type]> } = {
  welcome: exactObject({
    name: text,
    serverTime: count,
    requests: count,
    presence: arrayOf(exactObject<Presence>(presence)),
  }),
  conversations: exactObject({ ref: positive, items: arrayOf(summary), more: flag }),
  epochs: exactObject({ ref: positive, conversation: uuid, records: arrayOf(bytes), more: flag }),
  'epoch.appended': exactObject({ ref: positive, conversation: uuid, epoch: positive }),
  'epoch.new': exactObject({ conversation: uuid, epoch: positive, record: bytes }),
  chain: exactObject({
    ref: positive,
    conversation: uuid,
    whose: literal('own', 'peer'),
    entries: arrayOf(bytes),
    more: flag,
  }),
  'envelope.stored': exactObject({ ref: positive, conversation: uuid, ...stored }),
  'envelope.new': exactObject({ conversation: uuid, row }),
  'envelopes.found': exactObject({
    ref: positive,
    conversation: uuid,
    items: arrayOf(exactObject<Stored>(stored)),
  }),
  history: exactObject({
    ref: positive,
    conversation: uuid,
    rows: arrayOf(row),
    beforeHash: bytesOfLength(32),
    lastN: count,
    more: flag,
  }),
  'head.stored': exactObject({ ref: positive, conversation: uuid }),
  'head.new': exactObject({ conversation: uuid, side, head: bytes }),
  presence: exactObject<Presence>(presence),
  'conversation.changed': exactObject({ summary }),
  requests: exactObject({ count }),
  'keys.changed': exactObject({ conversation: orNull(uuid) }),
  refused: exactObject({ ref: orNull(positive), code: text, message: text, retryAfter: orNull(count) }),
  pong: exactObject({ ref: positive }),
}

export function encodeClientFrame(frame: ClientFrame): string {
  return JSON.stringify(toWire(frame))
}

/** Throws `MalformedData` for anything that is not one of the frames above, to the last field. */
export function decodeServerFrame(frame: string): ServerFrame {
  const { type, ...fields } = object(parseJson(frame))
  if (typeof type !== 'string' || !Object.hasOwn(decoders, type)) throw new MalformedData('type of a frame')
  const known = type as keyof FrameFields
  return { type: known, ...decoders[known](fields) } as ServerFrame
}
