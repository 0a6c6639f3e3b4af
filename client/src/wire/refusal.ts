/** What `/api/` answers when it refuses (docs/protocol.md, section 8). */
import { arrayOf, count, type Decoder, looseObject, object, orNull, text } from './json'

export interface Refusal {
  readonly code: string
  readonly message: string
  readonly fields: Readonly<Record<string, readonly string[]>>
  /** Seconds. */
  readonly retryAfter: number | null
}

const refusalFields: Decoder<Readonly<Record<string, readonly string[]>>> = (value) =>
  Object.fromEntries(Object.entries(object(value)).map(([name, messages]) => [name, arrayOf(text)(messages)]))

export const decodeRefusal: Decoder<Refusal> = looseObject<Refusal>({
  code: text,
  message: text,
  fields: refusalFields,
  retryAfter: orNull(count),
})
