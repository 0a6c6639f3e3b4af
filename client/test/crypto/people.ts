/** Alice and Bob with keys, a conversation and its first epoch, all from chosen randomness. */
import { type CreatedAccount, createAccount, unlockAccount, type Unlocked } from '../../src/crypto/account'
import { createEpoch, type OpenedEpoch } from '../../src/crypto/epoch'
import type { Chains } from '../../src/crypto/key_chain'
import { logStart } from '../../src/crypto/log'
import { passwordDoor } from '../../src/crypto/password'
import { type Bytes, type Random, utf8 } from '../../src/wire/bytes'
import type { Side } from '../../src/wire/objects'

export const ORIGIN = 'https://chat.example'
export const NOW = 1_700_000_000_000
export const CONVERSATION = new Uint8Array(16).fill(0xc0)

/** Not random at all: bytes that differ from call to call and are the same in every run. */
export function countingRandom(start = 1): Random {
  let next = start
  return (length) => {
    const bytes = new Uint8Array(length).fill(next % 256)
    next += 1
    return bytes
  }
}

export function person(name: string, start: number): Promise<CreatedAccount> {
  const random = countingRandom(start)
  const stretched = utf8(name.padEnd(32, '.'))
  const recoveryCode = new Uint8Array(20).fill(start)
  return createAccount({ origin: ORIGIN, name, stretched, recoveryCode, now: NOW, random })
}

export interface Cast {
  readonly alice: CreatedAccount
  readonly bob: CreatedAccount
  readonly mallory: CreatedAccount
  readonly chains: Chains
  readonly record: Bytes
  readonly epoch: OpenedEpoch
}

/** Alice is on side 0 and made the epoch, Bob is on side 1, Mallory is nobody's friend. */
export async function cast(): Promise<Cast> {
  const alice = await person('alice', 10)
  const bob = await person('bob', 60)
  const mallory = await person('mallory', 110)
  const chains = [alice.chain, bob.chain] as const
  const { record, epoch } = await createEpoch({
    conversation: CONVERSATION,
    previous: null,
    chains,
    log: await logStart(CONVERSATION),
    device: alice.browser.device,
    random: countingRandom(160),
  })
  return { alice, bob, mallory, chains, record, epoch }
}

export function accountOf(people: Cast, side: Side): CreatedAccount {
  return side === 0 ? people.alice : people.bob
}

/** Every copy of the bytes with one bit changed; with `step`, every `step`-th of them. */
export function* flipped(bytes: Bytes, step = 1): Generator<Bytes> {
  for (let bit = 0; bit < bytes.length * 8; bit += step) {
    const copy = bytes.slice()
    copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    yield copy
  }
}

/** With the password typed. */
export async function unlocked({ keys, browser }: CreatedAccount): Promise<Unlocked> {
  const { origin, name } = browser
  const doorKey = await passwordDoor(utf8(name.padEnd(32, '.')))
  const [door] = keys.doors
  if (door === undefined) throw new Error('An account has two doors.')
  return unlockAccount({ origin, name, chain: keys.chain, door, vault: keys.vault, doorKey })
}
