import { beforeAll, describe, expect, it } from 'vitest'

import {
  appendRow,
  emptyTimeline,
  endOf,
  type OpenedRow,
  type Timeline,
  withClaim,
} from '../../src/chat/timeline'
import { LogMismatch } from '../../src/crypto/errors'
import { envelopeHash, logStart } from '../../src/crypto/log'
import { CONVERSATION } from '../crypto/people'

const rows: OpenedRow[] = []

beforeAll(async () => {
  for (const n of [1, 2, 3, 4, 5]) {
    const envelope = Uint8Array.of(n)
    const row = { n, side: 0, clientId: String(n), envelope, storedAt: n } as const
    const shown = { kind: 'alarm', code: 'altered_message' } as const
    rows.push({ row, hash: await envelopeHash(envelope), header: null, shown })
  }
})

async function read(opened: readonly OpenedRow[]): Promise<Timeline> {
  let timeline = emptyTimeline(await logStart(CONVERSATION))
  for (const one of opened) timeline = (await appendRow(timeline, one)).timeline
  return timeline
}

describe('the log', () => {
  it('takes its rows one after the other, whatever they say', async () => {
    const timeline = await read(rows)

    expect(timeline.entries.map(({ n }) => n)).toEqual([1, 2, 3, 4, 5])
    expect(endOf(timeline).n).toBe(5)
  })

  it('is refused when numbers are missing or repeated', async () => {
    for (const index of [0, 1, 3]) await expect(read(rows.toSpliced(index, 1))).rejects.toThrow(LogMismatch)
    await expect(read([...rows, ...rows.slice(-1)])).rejects.toThrow(LogMismatch)
  })

  it('is refused when another hash is known, or a place after its end', async () => {
    const timeline = await read(rows)
    const end = endOf(timeline)

    expect(withClaim(timeline, end)).toBe(timeline)
    for (const claim of [
      { n: 5, hash: timeline.start.hash },
      { n: 0, hash: end.hash },
      { n: 6, hash: end.hash },
    ])
      expect(() => withClaim(timeline, claim)).toThrow(LogMismatch)
  })
})
