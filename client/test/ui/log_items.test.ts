import { expect, test } from 'vitest'
import type { SendingItem } from '../../src/chat/sender'
import type { Entry } from '../../src/chat/timeline'
import { type LogItem, logItems, type LogSource } from '../../src/ui/log_items'

const NOON = Date.UTC(2026, 10, 23, 12)
const MINUTE = 60_000
const STYLE = { locale: 'en-GB', timeZone: 'UTC' }

function entry(n: number, side: 0 | 1, at: number, shown?: Entry['shown']): Entry {
  return {
    n,
    side,
    clientId: `c${n}`,
    storedAt: at,
    hash: new Uint8Array(32),
    epoch: 1,
    shown: shown ?? { kind: 'text', text: `text ${n}`, sentAt: at },
  }
}

function items(source: Partial<LogSource>): LogItem[] {
  const whole = {
    entries: [],
    outgoing: [],
    ownSide: 0,
    restarts: [],
    deliveredN: 0,
    peerReadN: 0,
    lateSince: null,
    earlierThanVisit: 0,
    newAfter: null,
    now: NOON,
  }
  return logItems({ ...whole, ...source } as LogSource, STYLE)
}

function sketch(all: readonly LogItem[]): string[] {
  return all.map((item) => {
    if (item.kind === 'day') return `day ${item.text}`
    if (item.kind === 'lost') return `lost ${item.count}`
    if (item.kind === 'restart') return `${item.own ? 'own' : 'peer'} restart`
    if (item.kind !== 'message') return item.kind
    return `${item.own ? 'own' : 'peer'} ${item.text}${item.first ? ' first' : ''}${item.last ? ' last' : ''}`
  })
}

test('messages of one person within five minutes are a group', () => {
  const entries = [
    entry(1, 1, NOON),
    entry(2, 1, NOON + 4 * MINUTE),
    entry(3, 1, NOON + 10 * MINUTE),
    entry(4, 0, NOON + 11 * MINUTE),
  ]

  expect(sketch(items({ entries }))).toEqual([
    'day Monday 23 November',
    'peer text 1 first',
    'peer text 2 last',
    'peer text 3 first last',
    'own text 4 first last',
  ])
})

test('a day begins with its name, and ends a group', () => {
  const entries = [entry(1, 1, NOON - 12 * 60 * MINUTE - 1), entry(2, 1, NOON - 12 * 60 * MINUTE)]

  expect(sketch(items({ entries }))).toEqual([
    'day Sunday 22 November',
    'peer text 1 first last',
    'day Monday 23 November',
    'peer text 2 first last',
  ])
})

test('new messages begin before the first unread one of the friend', () => {
  const entries = [entry(1, 1, NOON), entry(2, 0, NOON), entry(3, 1, NOON), entry(4, 1, NOON)]

  expect(sketch(items({ entries, newAfter: 1 })).slice(2)).toEqual([
    'own text 2 first last',
    'new',
    'peer text 3 first',
    'peer text 4 last',
  ])
})

test('one tick is stored, two are confirmed, two filled are read, and the friend has none', () => {
  const entries = [entry(1, 0, NOON), entry(2, 0, NOON), entry(3, 1, NOON), entry(4, 0, NOON)]

  const statuses = items({ entries, deliveredN: 3, peerReadN: 1 }).flatMap((item) =>
    item.kind === 'message' ? [item.status] : [],
  )

  expect(statuses).toEqual(['read', 'delivered', null, 'sent'])
})

test('only the newest own message says that the friend was there and did not confirm it', () => {
  const entries = [entry(1, 0, NOON), entry(2, 0, NOON), entry(3, 1, NOON)]
  const lateSince = NOON - MINUTE

  const late = (source: Partial<LogSource>): (number | null)[] =>
    items({ entries, lateSince, ...source }).flatMap((item) =>
      item.kind === 'message' ? [item.lateSince] : [],
    )

  expect(late({})).toEqual([null, lateSince, null])
  expect(late({ deliveredN: 2 })).toEqual([null, null, null])
})

test('what waits comes after the log, and not twice once it is in it', () => {
  const waiting = (clientId: string, more: Partial<SendingItem> = {}): SendingItem => ({
    clientId,
    conversation: 'c',
    content: { kind: 'text', text: clientId, sentAt: NOON },
    failure: null,
    mayBeStored: false,
    storedN: null,
    ...more,
  })

  const shown = items({
    entries: [entry(1, 0, NOON)],
    outgoing: [
      waiting('c1'),
      waiting('stored', { storedN: 2 }),
      waiting('clock'),
      waiting('lost', { failure: 'No.' }),
    ],
  })

  expect(shown.flatMap((item) => (item.kind === 'message' ? [[item.text, item.status]] : []))).toEqual([
    ['text 1', 'sent'],
    ['stored', 'sent'],
    ['clock', 'waiting'],
    ['lost', 'failed'],
  ])
})

test('an alarm stands where the message would, and a repeat nowhere', () => {
  const entries = [
    entry(1, 1, NOON),
    entry(2, 1, NOON, { kind: 'alarm', code: 'altered_message' }),
    entry(3, 1, NOON, { kind: 'repeat' }),
  ]

  expect(sketch(items({ entries })).slice(1)).toEqual(['peer text 1 first last', 'alarm'])
})

test('messages from before one started over are one row, and belong to no day', () => {
  const lost = { kind: 'lost' } as const
  const entries = [entry(1, 1, NOON, lost), entry(2, 0, NOON, lost), entry(3, 1, NOON)]

  const shown = items({ entries, restarts: [{ side: 0, at: NOON, afterN: 2 }] })

  expect(sketch(shown)).toEqual(['lost 2', 'own restart', 'day Monday 23 November', 'peer text 3 first last'])
})

test('new keys stand where they came, end a group, and wait for pages that are not here yet', () => {
  const entries = [entry(11, 1, NOON), entry(12, 1, NOON)]
  const at = (afterN: number): string[] =>
    sketch(items({ entries, restarts: [{ side: 1, at: NOON, afterN }] })).slice(1)

  expect(at(11)).toEqual(['peer text 11 first last', 'peer restart', 'peer text 12 first last'])
  expect(at(12)).toEqual(['peer text 11 first', 'peer text 12 last', 'peer restart'])
  expect(at(4)).toEqual(['peer text 11 first', 'peer text 12 last'])
})

test('messages from before this visit are marked as such', () => {
  const shown = items({ entries: [entry(1, 1, NOON), entry(2, 1, NOON)], earlierThanVisit: 1 })

  expect(shown.flatMap((item) => (item.kind === 'message' ? [item.earlier] : []))).toEqual([true, false])
})

test('what was not sent yesterday stands at the end of today, under no day of its own', () => {
  const yesterday = NOON - 24 * 60 * MINUTE
  const failed = {
    clientId: 'w1',
    conversation: 'c',
    content: { kind: 'text', sentAt: yesterday + MINUTE, text: 'not sent' },
    failure: 'Refused.',
    mayBeStored: false,
    storedN: null,
  } as SendingItem
  const all = items({ entries: [entry(1, 1, yesterday), entry(2, 1, NOON)], outgoing: [failed] })

  expect(sketch(all)).toEqual([
    'day Sunday 22 November',
    'peer text 1 first last',
    'day Monday 23 November',
    'peer text 2 first last',
    'own not sent first last',
  ])
  expect(new Set(all.map(({ key }) => key)).size).toBe(all.length)
})
