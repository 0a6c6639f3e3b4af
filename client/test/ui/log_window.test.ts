import fc from 'fast-check'
import { expect, test } from 'vitest'
import { holdStill, type LogWindow, movedDown, movedUp, NEWEST, rangeOf } from '../../src/ui/log_window'

const MAX = 40
const STEP = 10
const rows = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, index) => `r${from + index}`)

test('the newest rows are shown, and newer ones push the oldest out', () => {
  expect(rangeOf(rows(0, 30), NEWEST, MAX)).toEqual({ from: 0, to: 30 })
  expect(rangeOf(rows(0, 100), NEWEST, MAX)).toEqual({ from: 60, to: 100 })
})

test('while somebody reads above, new rows change nothing in the page', () => {
  const keys = rows(0, 100)
  const held = holdStill(keys, { from: 60, to: 100 })

  expect(rangeOf([...keys, ...rows(100, 110)], held, MAX)).toEqual({ from: 60, to: 100 })
})

test('older rows that were loaded do not move what is read', () => {
  const held = holdStill(rows(0, 100), { from: 20, to: 60 })

  const { from, to } = rangeOf(rows(-50, 100), held, MAX)

  expect(rows(-50, 100).slice(from, to)).toEqual(rows(20, 60))
})

test('going up to the first row and down to the last passes every row', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 300 }), (count) => {
      const keys = rows(0, count)
      const seen = new Set<string>()
      let window: LogWindow = NEWEST
      const look = (): { from: number; to: number } => {
        const range = rangeOf(keys, window, MAX)
        expect(range.to - range.from).toBeLessThanOrEqual(MAX)
        for (const key of keys.slice(range.from, range.to)) seen.add(key)
        return range
      }
      for (let range = look(); range.from > 0; range = look()) window = movedUp(keys, range, STEP)
      expect(seen.size).toBe(count)
      for (let range = look(); range.to < count; range = look()) window = movedDown(keys, range, STEP)
      expect(rangeOf(keys, window, MAX)).toEqual(rangeOf(keys, NEWEST, MAX))
    }),
  )
})
