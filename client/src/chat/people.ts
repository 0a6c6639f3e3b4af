/** The two people of a conversation: their key chains, fetched, checked and pinned. */
import {
  hasDevice,
  positionOfChain,
  type VerifiedChain,
  extendKeyChain,
  verifyKeyChain,
} from '../crypto/key_chain'
import { pinOf, withChainPosition, withPin } from '../crypto/vault'
import { IdentityChanged } from '../crypto/errors'
import type { Ask } from '../net/socket'
import type { Database, StoredKeys } from '../store/database'
import { keepPin, loadPin } from '../store/pins'
import { type Bytes, equal, uuidToBytes } from '../wire/bytes'
import type { Pin } from '../wire/objects'
import type { VaultKeeper } from './vault_keeper'

/** This browser's key is not on the person's chain: only a log-in can put it there. */
export class DeviceMissing extends Error {
  override readonly name = 'DeviceMissing'
}

export interface PeopleTools {
  readonly ask: Ask
  readonly keys: StoredKeys
  readonly vault: VaultKeeper
  readonly database: Database
}

interface ChainRequest {
  readonly conversation: string
  readonly whose: 'own' | 'peer'
}

async function fetchEntries(ask: Ask, request: ChainRequest, after: number): Promise<Bytes[]> {
  const entries: Bytes[] = []
  for (;;) {
    const page = await ask({ type: 'chain.get', ...request, after: after + entries.length })
    entries.push(...page.entries)
    if (!page.more || page.entries.length === 0) return entries
  }
}

/** One's own chain, the same for every conversation; each is as good as another to ask for it. */
export class OwnChain {
  #chain: VerifiedChain | null = null
  #loading: Promise<void> | null = null

  constructor(private readonly tools: PeopleTools) {}

  get chain(): VerifiedChain {
    if (this.#chain === null) throw new Error('The own key chain has not been fetched yet.')
    return this.#chain
  }

  /** Throws `DeviceMissing`, and what the checks throw. */
  async load(conversation: string): Promise<void> {
    if (this.#chain !== null) return
    this.#loading ??= this.#fetch(conversation).finally(() => {
      this.#loading = null
    })
    await this.#loading
  }

  /** Nothing to do as long as it has not been loaded. */
  async refresh(conversation: string): Promise<void> {
    const known = this.#chain
    if (known === null) return
    const entries = await fetchEntries(this.tools.ask, { conversation, whose: 'own' }, known.seq)
    const extended = await extendKeyChain(known, entries)
    if (extended.seq > this.chain.seq) this.#accept(extended)
  }

  async #fetch(conversation: string): Promise<void> {
    const { ask, keys, vault } = this.tools
    const { identityPublic, chain: position } = vault.content
    const entries = await fetchEntries(ask, { conversation, whose: 'own' }, 0)
    const pinned = { identityPublic, ...position }
    const chain = await verifyKeyChain(entries, { origin: keys.origin, name: keys.name, pinned })
    if (!hasDevice(chain, keys.device.id)) throw new DeviceMissing('This browser is not on the key chain.')
    this.#accept(chain)
  }

  #accept(chain: VerifiedChain): void {
    this.#chain = chain
    if (chain.seq > this.tools.vault.content.chain.seq) {
      this.tools.vault.change((content) =>
        content.chain.seq < chain.seq ? withChainPosition(content, positionOfChain(chain)) : content,
      )
    }
  }
}

/**
 * The friend's chain, checked against what was pinned in the vault and in this browser; the first time, it is pinned.
 *
 * `known` is what was checked before on this page. Throws what the checks throw; nothing is pinned then.
 */
export async function fetchPeerChain(
  tools: PeopleTools,
  peer: { readonly conversation: string; readonly name: string },
  known: VerifiedChain | null,
): Promise<VerifiedChain> {
  const request = { conversation: peer.conversation, whose: 'peer' } as const
  const entries = await fetchEntries(tools.ask, request, known?.seq ?? 0)
  const chain = known === null ? await verifyPeer(tools, peer, entries) : await extendKeyChain(known, entries)
  if (known === null || chain.seq > known.seq) await pin(tools, peer.conversation, chain)
  return chain
}

async function verifyPeer(
  tools: PeopleTools,
  peer: { readonly conversation: string; readonly name: string },
  entries: readonly Bytes[],
): Promise<VerifiedChain> {
  const expected = { origin: tools.keys.origin, name: peer.name }
  const local = await loadPin(tools.database, peer.conversation)
  const inVault = pinOf(tools.vault.content, uuidToBytes(peer.conversation))
  if (local !== undefined && inVault !== undefined && !equal(local.identityPublic, inVault.identityPublic))
    throw new IdentityChanged()
  const pinned = newer(local, inVault)
  return verifyKeyChain(entries, pinned === undefined ? expected : { ...expected, pinned })
}

type Pinned = Pick<Pin, 'identityPublic' | 'seq' | 'head'>

function newer(local: Pinned | undefined, inVault: Pinned | undefined): Pinned | undefined {
  if (local === undefined || inVault === undefined) return local ?? inVault
  return local.seq > inVault.seq ? local : inVault
}

async function pin(tools: PeopleTools, conversation: string, chain: VerifiedChain): Promise<void> {
  const id = uuidToBytes(conversation)
  const stored = pinOf(tools.vault.content, id)
  const { identityPublic, fingerprint, seq, head } = chain
  const described = { identityPublic, fingerprint, verified: stored?.verified ?? false, seq, head }
  await keepPin(tools.database, { conversation, ...described })
  if (stored !== undefined && stored.seq >= seq) return
  tools.vault.change((content) => {
    const current = pinOf(content, id)
    if (current !== undefined && current.seq >= seq) return content
    return withPin(content, { ...described, conversation: id, verified: current?.verified ?? false })
  })
}
