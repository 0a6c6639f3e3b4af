/**
 * The rules for names and passwords. They are declared once, on the server, and come here as data: the server never
 * sees a password and so cannot check one itself.
 */
import { arrayOf, type Decoder, literal, looseObject, object, positive, text } from '../wire/json'
import { MalformedData } from '../wire/bytes'

export type CharacterClass = 'lower' | 'upper' | 'digit' | 'symbol'

export type Rule =
  | { readonly kind: 'min_length'; readonly min: number; readonly text: string }
  | { readonly kind: 'max_length'; readonly max: number; readonly text: string }
  | { readonly kind: 'contains'; readonly characters: CharacterClass; readonly text: string }
  | { readonly kind: 'run'; readonly max: number; readonly text: string }
  | { readonly kind: 'alphanumeric'; readonly text: string }
  | { readonly kind: 'not_username'; readonly text: string }

const KINDS: { readonly [Kind in Rule['kind']]: Decoder<Omit<Extract<Rule, { kind: Kind }>, 'kind'>> } = {
  min_length: looseObject({ min: positive, text }),
  max_length: looseObject({ max: positive, text }),
  contains: looseObject({ characters: literal('lower', 'upper', 'digit', 'symbol'), text }),
  run: looseObject({ max: positive, text }),
  alphanumeric: looseObject({ text }),
  not_username: looseObject({ text }),
}

/** Rules as the server lists them. One of a kind that this page does not know is refused: it could not be checked. */
export const decodeRules: Decoder<readonly Rule[]> = arrayOf((value) => {
  const kind = text(object(value)['kind'])
  if (!Object.hasOwn(KINDS, kind)) throw new MalformedData('a known rule')
  return { kind, ...KINDS[kind as Rule['kind']](value) } as Rule
})

const CLASSES: Readonly<Record<CharacterClass, RegExp>> = {
  lower: /[a-z]/,
  upper: /[A-Z]/,
  digit: /[0-9]/,
  symbol: /[^A-Za-z0-9\s]/,
}

/** The rules that `value` breaks, in the order given. Lengths count characters, not UTF-16 units. */
export function brokenRules(rules: readonly Rule[], value: string, username: string): Rule[] {
  return rules.filter((rule) => !keeps(rule, value, username))
}

function keeps(rule: Rule, value: string, username: string): boolean {
  switch (rule.kind) {
    case 'min_length':
      return Array.from(value).length >= rule.min
    case 'max_length':
      return Array.from(value).length <= rule.max
    case 'contains':
      return CLASSES[rule.characters].test(value)
    case 'run':
      return longestRun(value) <= rule.max
    case 'alphanumeric':
      return /^[A-Za-z0-9]*$/.test(value)
    case 'not_username':
      return value === '' || value.toLowerCase() !== username.toLowerCase()
  }
}

/** Length of the longest stretch of equal, ascending or descending characters: 4 in `aaaa`, `abcd`, `4321`. */
export function longestRun(value: string): number {
  const points = Array.from(value).map((character) => character.codePointAt(0) ?? 0)
  let longest = Math.min(points.length, 1)
  let length = 1
  let step: number | null = null
  for (let index = 1; index < points.length; index++) {
    const next: number = (points[index] ?? 0) - (points[index - 1] ?? 0)
    if (Math.abs(next) > 1) {
      length = 1
      step = null
    } else {
      length = next === step ? length + 1 : 2
      step = next
    }
    longest = Math.max(longest, length)
  }
  return longest
}
