import { expect, test } from 'vitest'
import { textParts } from '../../src/ui/links'
import { shownName } from '../../src/ui/person'
import {
  confirmedWords,
  historyWords,
  lockWords,
  lostWords,
  proofFileName,
  restartWords,
} from '../../src/ui/safety_words'
import { momentName, shortDate } from '../../src/ui/times'

const NOW = Date.UTC(2026, 10, 23, 12)
const STYLE = { locale: 'en-GB', timeZone: 'UTC' }

test('the lock says in words what holds', () => {
  expect(lockWords('unverified', false)).toEqual({ state: 'encrypted', text: 'Encrypted' })
  expect(lockWords('verified', false)).toEqual({ state: 'verified', text: 'Encrypted · verified' })
  expect(lockWords('changed', false)).toEqual({ state: 'changed', text: 'Safety number changed' })
  expect(lockWords('mismatch', false).state).toBe('changed')
})

test('a verified mark does not outlast an alarm', () => {
  expect(lockWords('verified', true)).toEqual({ state: 'changed', text: 'Alarm' })
})

test('the history is called complete only when every message was checked', () => {
  expect(historyWords({ checked: 128, total: 128, confirmed: 0 })).toBe(
    'History complete: 128 of 128 checked.',
  )
  expect(historyWords({ checked: 100, total: 1128, confirmed: 0 })).toBe(
    '100 of 1,128 checked. The older ones have not been loaded yet.',
  )
  expect(historyWords({ checked: 0, total: 0, confirmed: 0 })).toBe('No messages yet, so nothing to check.')
})

test('what the friend confirmed is counted', () => {
  const words = (confirmed: number): string | null =>
    confirmedWords({ checked: 128, total: 128, confirmed }, 'Test01')

  expect(words(0)).toBe("Test01's browser has not confirmed any of them yet.")
  expect(words(126)).toBe("Test01's browser confirmed 126 of them.")
  expect(words(128)).toBe("Test01's browser confirmed all of them.")
  expect(confirmedWords({ checked: 0, total: 0, confirmed: 0 }, 'Test01')).toBeNull()
})

test('new keys are told with their day, one own with what they cost', () => {
  expect(restartWords(false, 'Test01', NOW, NOW, STYLE)).toBe('Test01 started over with new keys on 23 Nov.')
  expect(restartWords(true, 'Test01', NOW, NOW, STYLE)).toBe(
    'You started over with new keys on 23 Nov. Earlier messages cannot be read any more.',
  )
  expect(lostWords(1)).toBe('1 message from before you started over cannot be read.')
  expect(lostWords(12)).toBe('12 messages from before you started over cannot be read.')
})

test('days of other years carry the year, and moments of other days the day', () => {
  expect(shortDate(Date.UTC(2025, 0, 2), NOW, STYLE)).toBe('2 Jan 2025')
  expect(momentName(NOW, NOW, STYLE)).toBe('12:00')
  expect(momentName(NOW - 24 * 3600_000, NOW, STYLE)).toBe('22 Nov, 12:00')
})

test('a proof is named after the friend and the day', () => {
  expect(proofFileName('Test01', NOW)).toBe('securechat-proof-test01-2026-11-23.json')
})

test('a name cannot turn or stretch the page', () => {
  expect(shownName('Test01')).toBe('Test01')
  expect(shownName('Bob\u202Eevil\u200B<b>')).toBe('Bob\uFFFDevil\uFFFD\uFFFDb\uFFFD')
  expect(shownName('x'.repeat(10_000))).toHaveLength(33)
})

test('a link ends before what would turn it around', () => {
  const [, link] = textParts('see https://safe.example/\u202Egnp.exe')

  expect(link).toEqual({ kind: 'link', text: 'https://safe.example/', href: 'https://safe.example/' })
})
