/** What two people's browsers confirmed to each other, for anybody to check without a server (section 11). */
import type { Chains, VerifiedChain } from '../crypto/key_chain'
import { hash } from '../crypto/labels'
import type { Ask } from '../net/socket'
import { type Bytes, equal, toBase64url } from '../wire/bytes'
import type { Side } from '../wire/objects'
import { CheckFailed } from './alarms'
import { fetchEntries } from './people'

export interface ProofSource {
  readonly ask: Ask
  readonly conversation: string
  /** One's own. */
  readonly side: Side
  readonly chains: Chains
  /** The newest signed head of each side. */
  readonly heads: readonly [Bytes | null, Bytes | null]
  /** Of every envelope, from the first. */
  readonly hashes: readonly Bytes[]
  readonly now: number
}

/** Fetches the entries of both chains once more; throws `CheckFailed` when they are not those that were checked. */
export async function proofText(source: ProofSource): Promise<string> {
  const people = await Promise.all([person(source, 0), person(source, 1)])
  const proof = {
    format: 'securechat-proof/1',
    origin: source.chains[source.side].origin,
    conversation: source.conversation,
    exported_at: source.now,
    people,
    hashes: source.hashes.map(toBase64url),
  }
  return `${JSON.stringify(proof, null, 1)}\n`
}

async function person(source: ProofSource, side: Side): Promise<unknown> {
  const chain = source.chains[side]
  const head = source.heads[side]
  const entries = await entriesOf(source, side, chain)
  return {
    name: chain.name,
    chain: entries.map(toBase64url),
    head: head === null ? null : toBase64url(head),
  }
}

async function entriesOf(
  { ask, conversation, side: own }: ProofSource,
  side: Side,
  chain: VerifiedChain,
): Promise<readonly Bytes[]> {
  const whose = side === own ? 'own' : 'peer'
  const entries = (await fetchEntries(ask, { conversation, whose }, 0)).slice(0, chain.seq)
  const hashes = await Promise.all(entries.map((entry) => hash('chain/entry', entry)))
  const same = hashes.every((one, index) => {
    const known = chain.hashes[index]
    return known !== undefined && equal(one, known)
  })
  if (!same || entries.length !== chain.seq) throw new CheckFailed('chain_forked')
  return entries
}
