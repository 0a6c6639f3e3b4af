/** The two people of a conversation: their key chains, fetched, checked and pinned. */
import { CryptoRefusal, IdentityChanged, KeysRenewed } from '../crypto/errors'
import {
  activeDevices,
  type ChainDevice,
  deviceOf,
  extendKeyChain,
  hasActiveDevice,
  identityChangedSince,
  positionOfChain,
  requirePinned,
  type VerifiedChain,
  verifyKeyChain,
  verifyOwnKeyChain,
} from '../crypto/key_chain'
import { expectedOf, type Pin, pinOf, withChainPosition, withPin } from '../crypto/vault'
import type { Clock } from '../net/clock'
import type { Ask } from '../net/socket'
import type { Database, PinRecord, StoredKeys } from '../store/database'
import { changePin, loadPin } from '../store/pins'
import { loadSeen, noteSeen } from '../store/seen'
import { type Bytes, equal, uuidToBytes } from '../wire/bytes'
import { CheckFailed, OwnKeysRefused } from './alarms'
import type { VaultKeeper } from './vault_keeper'

/** This browser's key does not stand on the person's chain: only a log-in can put it there. */
export class DeviceMissing extends Error {
  override readonly name = 'DeviceMissing'
}

export interface PeopleTools {
  readonly ask: Ask
  readonly clock: Clock
  readonly keys: StoredKeys
  readonly vault: VaultKeeper
  readonly database: Database
}

interface ChainRequest {
  readonly conversation: string
  readonly whose: 'own' | 'peer'
}

export async function fetchEntries(ask: Ask, request: ChainRequest, after: number): Promise<Bytes[]> {
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

  constructor(private readonly tools: PeopleTools & { readonly onGrown: () => void }) {}

  get chain(): VerifiedChain {
    if (this.#chain === null) throw new Error('The own key chain has not been fetched yet.')
    return this.#chain
  }

  get isLoaded(): boolean {
    return this.#chain !== null
  }

  /** Throws `DeviceMissing`, `KeysRenewed` or `OwnKeysRefused`. */
  async load(conversation: string): Promise<void> {
    if (this.#chain !== null) return
    this.#loading ??= this.#fetch(conversation).finally(() => {
      this.#loading = null
    })
    await this.#loading
  }

  /** Nothing to do as long as it has not been loaded. Throws what `load` throws. */
  async refresh(conversation: string): Promise<void> {
    const known = this.#chain
    if (known === null) return
    const entries = await fetchEntries(this.tools.ask, { conversation, whose: 'own' }, known.seq)
    const extended = await ownChecks(async () => {
      const longer = await extendKeyChain(known, entries)
      if (identityChangedSince(longer, known)) throw new IdentityChanged()
      return longer
    })
    if (extended.seq > this.chain.seq) this.#accept(extended)
  }

  /** Browsers that signed in after this one and stand, oldest first. */
  get newerBrowsers(): readonly ChainDevice[] {
    if (this.#chain === null) return []
    const { addedSeq } = deviceOf(this.#chain, this.tools.keys.device.id)
    return activeDevices(this.#chain).filter((device) => device.addedSeq > addedSeq)
  }

  async #fetch(conversation: string): Promise<void> {
    const { ask, keys, vault, database } = this.tools
    const { identityPublic, chain: position } = vault.content
    const seen = await loadSeen(database)
    const entries = await fetchEntries(ask, { conversation, whose: 'own' }, 0)
    const pinned = { identityPublic, ...position }
    const expected = { origin: keys.origin, name: keys.name, pinned }
    const chain = await ownChecks(async () => {
      const verified = await verifyOwnKeyChain(entries, expected)
      if (seen.chain !== null) requirePinned(verified, seen.chain)
      return verified
    })
    this.#accept(chain)
  }

  #accept(chain: VerifiedChain): void {
    const { keys, vault, database } = this.tools
    if (!hasActiveDevice(chain, keys.device.id))
      throw new DeviceMissing('This browser is not on the key chain.')
    if (chain.vaultGeneration > keys.vaultGeneration) throw new KeysRenewed()
    this.#chain = chain
    if (chain.seq > vault.content.chain.seq) {
      vault.change((content) =>
        content.chain.seq < chain.seq ? withChainPosition(content, positionOfChain(chain)) : content,
      )
    }
    const { identityPublic, seq, head } = chain
    void noteSeen(database, { chain: { identityPublic, seq, head } })
    this.tools.onGrown()
  }
}

/** What a check of one's own chain refuses is about the account, not about a friend. */
async function ownChecks<T>(check: () => Promise<T>): Promise<T> {
  try {
    return await check()
  } catch (error) {
    if (!(error instanceof CryptoRefusal)) throw error
    throw new OwnKeysRefused(error instanceof IdentityChanged ? 'own_identity_changed' : 'own_chain_invalid')
  }
}

type Place = Pick<PinRecord, 'conversation' | 'identityPublic' | 'fingerprint' | 'seq' | 'head'>

/**
 * What is known of a friend: the chain that was fetched, and the identity that was pinned.
 *
 * The pin is in this browser, where all its tabs find it, and in the vault, for the other browsers. It moves along the
 * chain by itself, but never to another identity: that is for `accept`.
 */
export class Friend {
  #chain: VerifiedChain | null = null
  #pin: PinRecord | null = null

  constructor(
    private readonly tools: PeopleTools,
    private readonly conversation: string,
    private readonly name: string,
  ) {}

  get chain(): VerifiedChain {
    if (this.#chain === null) throw new Error('The key chain of the friend has not been fetched yet.')
    return this.#chain
  }

  get isKnown(): boolean {
    return this.#chain !== null
  }

  /** When safety numbers were compared, 0 for never; also before the chain was fetched. */
  get verifiedAt(): number {
    const [pin, stored] = [this.#pin, this.#inVault()]
    if (pin === null) return stored?.verifiedAt ?? 0
    // Another browser of this person may have compared, or taken it back, since.
    if (stored === undefined || !isSame(pin, stored)) return pin.verifiedAt
    const isOlder = pin.savedIn === null || this.tools.vault.version < pin.savedIn
    return isOlder ? pin.verifiedAt : stored.verifiedAt
  }

  /** The person said that the safety numbers differ. */
  get isMismatch(): boolean {
    return this.#pin?.mismatch ?? false
  }

  /** Whether the chain goes on to another identity than the one that was pinned in this browser. */
  get hasChanged(): boolean {
    return this.#chain !== null && this.#pin !== null && identityChangedSince(this.#chain, this.#pin)
  }

  /** Whether another browser of this person has pinned the present identity. */
  get isAcceptedElsewhere(): boolean {
    const stored = this.#inVault()
    return this.#chain !== null && stored !== undefined && !identityChangedSince(this.#chain, stored)
  }

  /** What was fetched is forgotten; what was pinned is not. */
  forget(): void {
    this.#chain = null
  }

  /** The newest chain. Throws what the checks throw, and `link_mismatch`; nothing is pinned then. */
  async refresh(): Promise<void> {
    const request = { conversation: this.conversation, whose: 'peer' } as const
    const known = this.#chain
    if (known === null) {
      // Before the chain is asked for: another tab may move the pin on meanwhile.
      const local = await loadPin(this.tools.database, this.conversation)
      const stored = this.#inVault()
      this.#chain = await this.#verify(await fetchEntries(this.tools.ask, request, 0), local, stored)
    } else {
      this.#chain = await extendKeyChain(known, await fetchEntries(this.tools.ask, request, known.seq))
      await this.look()
    }
    if (!this.hasChanged) await this.#follow()
    // Another browser may have compared numbers: that is known before a change is taken for one that does not matter.
    else if (this.verifiedAt === 0) await this.tools.vault.load()
  }

  /** What other tabs of this browser have decided meanwhile. */
  async look(): Promise<void> {
    this.#pin = (await loadPin(this.tools.database, this.conversation)) ?? this.#pin
  }

  /** Pins the present identity, compared at `verifiedAt`. */
  async confirm(verifiedAt: number): Promise<void> {
    await this.#decide({ ...this.#present(), verifiedAt, mismatch: false })
  }

  /** Pins the present identity without a comparison, or as another browser of this person has pinned it. */
  async accept(): Promise<void> {
    const verifiedAt = this.isAcceptedElsewhere ? (this.#inVault()?.verifiedAt ?? 0) : 0
    await this.#place(() => ({
      ...this.#present(),
      verifiedAt,
      mismatch: this.isMismatch,
      savedIn: this.tools.vault.version,
    }))
  }

  async unverify(): Promise<void> {
    if (this.#pin !== null) await this.#decide({ ...this.#pin, verifiedAt: 0 })
  }

  async setMismatch(mismatch: boolean): Promise<void> {
    if (this.#pin !== null) await this.#decide({ ...this.#pin, verifiedAt: 0, mismatch })
  }

  async #verify(
    entries: readonly Bytes[],
    local: PinRecord | undefined,
    stored: Pin | undefined,
  ): Promise<VerifiedChain> {
    const expected = { origin: this.tools.keys.origin, name: this.name }
    const pins = [local, stored].filter((pin) => pin !== undefined)
    const [pinned] = pins.toSorted((one, other) => other.seq - one.seq)
    if (pinned === undefined) return this.#first(await verifyKeyChain(entries, expected))
    const chain = await verifyKeyChain(entries, { ...expected, pinned })
    for (const pin of pins) requirePinned(chain, pin)
    const { conversation } = this
    this.#pin =
      local ??
      (await this.#change(() => ({
        ...pinned,
        conversation,
        mismatch: false,
        savedIn: this.tools.vault.version,
      })))
    if (this.#pin.savedIn === null) await this.#decide(this.#pin)
    else if (stored === undefined || stored.seq < this.#pin.seq) this.#writePlace(this.#pin)
    return chain
  }

  /** Whoever a link named has to have that identity, and counts as compared. */
  async #first(chain: VerifiedChain): Promise<VerifiedChain> {
    const expected = expectedOf(this.tools.vault.content, this.name)
    if (expected !== undefined && !equal(expected.fingerprint, chain.fingerprint))
      throw new CheckFailed('link_mismatch')
    const pin = { ...pinnedOf(chain, this.conversation), mismatch: false }
    if (expected !== undefined) await this.#decide({ ...pin, verifiedAt: this.tools.clock.now() })
    else await this.#place(() => ({ ...pin, verifiedAt: 0, savedIn: this.tools.vault.version }))
    return chain
  }

  /** The pin moves along the chain of the same identity. */
  async #follow(): Promise<void> {
    const pin = this.#pin
    const place = pinnedOf(this.chain, this.conversation)
    if (pin === null || pin.seq >= place.seq) return
    await this.#place((stored = pin) =>
      isSame(stored, place) && stored.seq < place.seq ? { ...stored, ...place } : stored,
    )
  }

  async #place(change: (stored: PinRecord | undefined) => PinRecord): Promise<void> {
    this.#pin = await this.#change(change)
    this.#writePlace(this.#pin)
  }

  /** Where the chain was seen, and nothing else: whether it was compared is not touched. */
  #writePlace({ identityPublic, fingerprint, seq, head, verifiedAt }: PinRecord): void {
    const conversation = uuidToBytes(this.conversation)
    this.tools.vault.change((content) => {
      const current = pinOf(content, conversation)
      if (current !== undefined && current.seq >= seq) return content
      const kept =
        current !== undefined && equal(current.identityPublic, identityPublic) ? current : { verifiedAt }
      return withPin(content, {
        conversation,
        identityPublic,
        fingerprint,
        seq,
        head,
        verifiedAt: kept.verifiedAt,
      })
    })
  }

  /** In this browser first: whatever happens to the page, the vault gets it the next time. */
  async #decide(decided: Omit<PinRecord, 'savedIn'>): Promise<void> {
    const { identityPublic, fingerprint, verifiedAt, seq, head } = decided
    const conversation = uuidToBytes(this.conversation)
    const { vault } = this.tools
    this.#pin = await this.#change(() => ({ ...decided, savedIn: null }))
    vault.change(
      (content) => {
        const current = pinOf(content, conversation)
        const further = current !== undefined && current.seq > seq ? current : null
        if (further !== null && !isSame(further, decided)) return content
        const place = further ?? { conversation, identityPublic, fingerprint, seq, head }
        return withPin(content, { ...place, verifiedAt })
      },
      async () => {
        this.#pin = await this.#change((stored = { ...decided, savedIn: null }) =>
          isSame(stored, decided) && stored.verifiedAt === verifiedAt
            ? { ...stored, savedIn: vault.version }
            : stored,
        )
      },
    )
  }

  #present(): Place {
    return pinnedOf(this.chain, this.conversation)
  }

  #change(change: (stored: PinRecord | undefined) => PinRecord): Promise<PinRecord> {
    return changePin(this.tools.database, this.conversation, change)
  }

  #inVault(): Pin | undefined {
    const { vault } = this.tools
    return vault.isLoaded ? pinOf(vault.content, uuidToBytes(this.conversation)) : undefined
  }
}

function pinnedOf(chain: VerifiedChain, conversation: string): Place {
  const { identityPublic, fingerprint, seq, head } = chain
  return { conversation, identityPublic, fingerprint, seq, head }
}

function isSame(one: { readonly identityPublic: Bytes }, other: { readonly identityPublic: Bytes }): boolean {
  return equal(one.identityPublic, other.identityPublic)
}
