import fc from 'fast-check'
import { expect, test } from 'vitest'
import { brokenRules, longestRun, type Rule } from '../../src/chat/password_rules'

const RULES: readonly Rule[] = [
  { kind: 'min_length', min: 8, text: 'At least 8 characters' },
  { kind: 'max_length', max: 20, text: 'At most 20 characters' },
  { kind: 'contains', characters: 'lower', text: 'A lower-case letter' },
  { kind: 'contains', characters: 'upper', text: 'An upper-case letter' },
  { kind: 'contains', characters: 'digit', text: 'A number' },
  { kind: 'contains', characters: 'symbol', text: 'A symbol' },
  { kind: 'run', max: 3, text: 'No more than 3 repeating or subsequent characters' },
  { kind: 'not_username', text: 'Not the username' },
]

function broken(password: string, username = 'Alice1'): string[] {
  return brokenRules(RULES, password, username).map((rule) => rule.text)
}

test('a password that keeps every rule breaks none', () => {
  expect(broken('Blue7-Harbour')).toEqual([])
})

test.each([
  ['Aa1-xyz', 'At least 8 characters'],
  ['Blue7-Harbour-and-more', 'At most 20 characters'],
  ['BLUE7-HARBOUR', 'A lower-case letter'],
  ['blue7-harbour', 'An upper-case letter'],
  ['Bluex-Harbour', 'A number'],
  ['Blue7xHarbour', 'A symbol'],
  ['Blue7-aaaabour', 'No more than 3 repeating or subsequent characters'],
  ['Blue7-abcdour', 'No more than 3 repeating or subsequent characters'],
  ['Blue-4321our', 'No more than 3 repeating or subsequent characters'],
])('%s breaks one rule: %s', (password, text) => {
  expect(broken(password)).toEqual([text])
})

test('the username is refused in any case', () => {
  expect(broken('Test-01x!', 'tEST-01X!')).toEqual(['Not the username'])
})

test('three in a row are allowed, four are not, in each direction', () => {
  expect(['aaa', 'abc', '321', 'aabbcc', 'abcb'].map(longestRun)).toEqual([3, 3, 3, 2, 3])
  expect(['aaaa', 'abcd', '4321', 'xabcde', 'abcddd'].map(longestRun)).toEqual([4, 4, 4, 5, 4])
  expect(['', 'a', 'az'].map(longestRun)).toEqual([0, 1, 1])
})

test('a run is as long read backwards, and never longer than the text', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'd', 'e') }), (text) => {
      const backwards = Array.from(text).reverse().join('')
      expect(longestRun(backwards)).toBe(longestRun(text))
      expect(longestRun(text)).toBeLessThanOrEqual(text.length)
    }),
  )
})

test('a character outside the basic plane counts once', () => {
  expect(brokenRules([{ kind: 'max_length', max: 2, text: '' }], '😀😀', '')).toEqual([])
})
