/** JSON that somebody else wrote: `unknown` in, typed data out. Field names are `snake_case` on the wire, `camelCase` here. */
import { type Bytes, fromBase64url, isUuid, MalformedData, toBase64url } from './bytes'

export type Decoder<T> = (value: unknown) => T

type Shape<T> = { readonly [Key in keyof T]-?: Decoder<T[Key]> }

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw new MalformedData('JSON')
  }
}

/** An object with exactly these fields. */
export function exactObject<T>(shape: Shape<T>): Decoder<T> {
  const decode = looseObject<T>(shape)
  const known = new Set(Object.keys(shape).map(snakeCase))
  return (value) => {
    const decoded = decode(value)
    const foreign = Object.keys(value as object).some((name) => !known.has(name))
    if (foreign) throw new MalformedData('an unknown field')
    return decoded
  }
}

/** An object with at least these fields; others are dropped. */
export function looseObject<T>(shape: Shape<T>): Decoder<T> {
  const decoders = Object.entries<Decoder<unknown>>(shape)
  return (value) => {
    const fields = object(value)
    const decoded = decoders.map(([key, decode]): [string, unknown] => {
      const name = snakeCase(key)
      if (!Object.hasOwn(fields, name)) throw new MalformedData(`field ${name}`)
      return [key, decode(fields[name])]
    })
    return Object.fromEntries(decoded) as T
  }
}

export function object(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new MalformedData('an object')
  return value as Readonly<Record<string, unknown>>
}

export function arrayOf<T>(decode: Decoder<T>): Decoder<readonly T[]> {
  return (value) => {
    if (!Array.isArray(value)) throw new MalformedData('a list')
    return value.map((item) => decode(item))
  }
}

export function orNull<T>(decode: Decoder<T>): Decoder<T | null> {
  return (value) => (value === null ? null : decode(value))
}

export function literal<const T extends string>(...allowed: readonly T[]): Decoder<T> {
  return (value) => {
    const found = allowed.find((one) => one === value)
    if (found === undefined) throw new MalformedData('one of the known words')
    return found
  }
}

export const text: Decoder<string> = (value) => {
  if (typeof value !== 'string') throw new MalformedData('a text')
  return value
}

export const flag: Decoder<boolean> = (value) => {
  if (typeof value !== 'boolean') throw new MalformedData('true or false')
  return value
}

/** 0 or more, below 2^53. */
export const count: Decoder<number> = (value) => {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw new MalformedData('a whole number')
  return value
}

/** 1 or more, below 2^53. */
export const positive: Decoder<number> = (value) => {
  if (count(value) === 0) throw new MalformedData('a positive number')
  return count(value)
}

export const uuid: Decoder<string> = (value) => {
  if (!isUuid(text(value))) throw new MalformedData('an identifier')
  return text(value)
}

export const bytes: Decoder<Bytes> = (value) => fromBase64url(text(value))

export function bytesOfLength(length: number): Decoder<Bytes> {
  return (value) => {
    const decoded = bytes(value)
    if (decoded.length !== length) throw new MalformedData('length of a value')
    return decoded
  }
}

/** What goes out: names to `snake_case`, bytes to base64url, everything below likewise. */
export function toWire(value: unknown): unknown {
  if (value instanceof Uint8Array) return toBase64url(value)
  if (Array.isArray(value)) return value.map(toWire)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [snakeCase(key), toWire(field)]))
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}
