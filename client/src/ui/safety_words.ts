/** What the screen says of safety numbers and checked history. Pure text. */
import type { Trust } from '../chat/conversation'
import { shortDate, type TimeStyle } from './times'

export interface LockWords {
  readonly state: 'encrypted' | 'verified' | 'changed'
  readonly text: string
}

/** The state word in a room's header. `alarmed`: something else is wrong, and the banner says what. */
export function lockWords(trust: Trust, alarmed: boolean): LockWords {
  if (alarmed) return { state: 'changed', text: 'Alarm' }
  switch (trust) {
    case 'verified':
      return { state: 'verified', text: 'Encrypted · verified' }
    case 'changed':
      return { state: 'changed', text: 'Safety number changed' }
    case 'mismatch':
      return { state: 'changed', text: 'Numbers differ' }
    case 'unknown':
    case 'unverified':
      return { state: 'encrypted', text: 'Encrypted' }
  }
}

export function groupsOf(safetyNumber: string): readonly string[] {
  return safetyNumber.split(' ')
}

export interface CheckedHistory {
  /** Messages of the log that this browser has opened and checked. */
  readonly checked: number
  readonly total: number
  /** The friend's browser confirmed up to here, with its signature. */
  readonly confirmed: number
}

export function historyWords({ checked, total }: CheckedHistory): string {
  if (total === 0) return 'No messages yet, so nothing to check.'
  const counted = `${counting(checked)} of ${counting(total)} checked`
  return checked < total
    ? `${counted}. The older ones have not been loaded yet.`
    : `History complete: ${counted}.`
}

export function confirmedWords({ total, confirmed }: CheckedHistory, name: string): string | null {
  if (total === 0) return null
  if (confirmed === 0) return `${name}'s browser has not confirmed any of them yet.`
  if (confirmed >= total) return `${name}'s browser confirmed all of them.`
  return `${name}'s browser confirmed ${counting(confirmed)} of them.`
}

function counting(count: number): string {
  return count.toLocaleString('en')
}

export function restartWords(
  own: boolean,
  name: string,
  on: number,
  now: number,
  style: TimeStyle = {},
): string {
  const date = shortDate(on, now, style)
  return own
    ? `You started over with new keys on ${date}. Earlier messages cannot be read any more.`
    : `${name} started over with new keys on ${date}.`
}

export function lostWords(count: number): string {
  return count === 1
    ? '1 message from before you started over cannot be read.'
    : `${counting(count)} messages from before you started over cannot be read.`
}

export function proofFileName(name: string, now: number): string {
  const plain = name.toLowerCase().replace(/[^a-z0-9_-]/g, '')
  return `securechat-proof-${plain}-${new Date(now).toISOString().slice(0, 10)}.json`
}
