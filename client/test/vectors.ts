/** Reads the golden vectors that the Python side reads too. */
import { readFileSync } from 'node:fs'

import { type Bytes, fromHex } from '../src/wire/bytes'

export function load(name: string): unknown {
  const file = new URL(`../../tests/vectors/${name}.json`, import.meta.url)
  return JSON.parse(readFileSync(file, 'utf8'))
}

export const bytes = (hex: string): Bytes => fromHex(hex)

export interface PersonVector {
  readonly name: 'alice' | 'bob'
  readonly stretched: string
  readonly recovery_code: string
  readonly identity_seed: string
  readonly identity_public: string
  readonly account_seed: string
  readonly account_public: string
  readonly device_seed: string
  readonly device: string
  readonly vault_key: string
  readonly fingerprint: string
  readonly entries: readonly string[]
  readonly hashes: readonly string[]
  readonly doors: readonly {
    readonly kind: string
    readonly public: string
    readonly sealed_vault_key: string
    readonly sealed_identity: string
    readonly tag: string
  }[]
}

export interface PeopleVector {
  readonly origin: string
  readonly alice: PersonVector
  readonly bob: PersonVector
  readonly safety: { readonly one: string; readonly other: string; readonly safety_number: string }
}

export interface RefusedVector {
  readonly why: string
  readonly code: string
}
