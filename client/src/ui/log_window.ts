/**
 * Which rows of a long log are in the page: a stretch of at most `max`, held by the keys at its ends.
 *
 * Keys, because rows come in above and below while somebody reads.
 */

export interface LogWindow {
  /** The first row; null for the beginning of what is loaded. */
  readonly start: string | null
  /** The last row; null for the newest. */
  readonly end: string | null
  /** Which end stays where there are too many. */
  readonly keep: 'start' | 'end'
}

export interface LogRange {
  readonly from: number
  /** After the last. */
  readonly to: number
}

/** The newest rows, whatever comes. */
export const NEWEST: LogWindow = { start: null, end: null, keep: 'end' }

export function rangeOf(keys: readonly string[], window: LogWindow, max: number): LogRange {
  const start = window.start === null ? 0 : Math.max(0, keys.indexOf(window.start))
  const last = window.end === null ? -1 : keys.indexOf(window.end)
  const to = last === -1 ? keys.length : last + 1
  const from = Math.min(start, to)
  if (to - from <= max) return { from, to }
  return window.keep === 'start' ? { from, to: from + max } : { from: to - max, to }
}

/** The same rows, from now on whatever comes below. */
export function holdStill(keys: readonly string[], range: LogRange): LogWindow {
  return { start: keyAt(keys, range.from), end: null, keep: 'start' }
}

export function movedUp(keys: readonly string[], range: LogRange, step: number): LogWindow {
  return { start: keyAt(keys, range.from - step), end: null, keep: 'start' }
}

export function movedDown(keys: readonly string[], range: LogRange, step: number): LogWindow {
  const last = range.to + step - 1
  return { start: null, end: last >= keys.length - 1 ? null : (keys[last] ?? null), keep: 'end' }
}

function keyAt(keys: readonly string[], index: number): string | null {
  return index <= 0 ? null : (keys[index] ?? null)
}
