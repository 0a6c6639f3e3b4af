/** The two people of one conversation as this browser knows them: their chains, and how sure it is who the friend is. */
import { qrText, readQrText, safetyNumber } from '../crypto/fingerprint'
import type { Chains } from '../crypto/key_chain'
import { type Bytes, equal } from '../wire/bytes'
import type { Side } from '../wire/objects'
import type { Outbox } from './outbox'
import { Friend, type OwnChain, type PeopleTools } from './people'

/**
 * How sure it is that the friend is who the person thinks: `changed` after a comparison that no longer holds, or when
 * the name was somebody else's.
 */
export type Trust = 'unknown' | 'unverified' | 'verified' | 'changed' | 'mismatch'

export interface MemberTools extends PeopleTools {
  readonly conversation: string
  /** One's own. */
  readonly side: Side
  /** The friend's name, folded. */
  readonly name: string
  readonly own: OwnChain
  readonly outbox: Outbox
}

export class Members {
  readonly #friend: Friend
  /** Whether key chains were asked for since the connection was there. */
  #isCurrent = false
  /** So many messages waited when the friend, never compared, began anew: they wait for a word of the person. */
  #held = 0

  constructor(private readonly tools: MemberTools) {
    this.#friend = new Friend(tools, tools.conversation, tools.name)
  }

  get areKnown(): boolean {
    return this.#friend.isKnown
  }

  get chains(): Chains {
    const own = this.tools.own.chain
    const peer = this.#friend.chain
    return this.tools.side === 0 ? [own, peer] : [peer, own]
  }

  get trust(): Trust {
    if (this.#friend.isMismatch) return 'mismatch'
    if (this.#friend.isSomebodyElse) return 'changed'
    if (this.#friend.hasChanged && this.verifiedAt > 0) return 'changed'
    if (this.verifiedAt > 0) return 'verified'
    return this.#friend.isKnown ? 'unverified' : 'unknown'
  }
  get verifiedAt(): number {
    return this.#friend.verifiedAt
  }
  get isVerified(): boolean {
    return this.verifiedAt > 0 && !this.#friend.hasChanged
  }
  get held(): number {
    return this.#held
  }
  get mayBeWrittenTo(): boolean {
    return this.#held === 0 && this.trust !== 'changed' && this.trust !== 'mismatch'
  }

  // Their chains

  forget(): void {
    this.#friend.forget()
  }

  connectionLost(): void {
    this.#isCurrent = false
  }

  /** Both from the start. */
  async load(): Promise<void> {
    await this.tools.own.load(this.tools.conversation)
    this.#friend.forget()
    await this.refreshFriend()
    this.#isCurrent = true
  }

  async refresh(): Promise<void> {
    await this.tools.own.refresh(this.tools.conversation)
    await this.refreshFriend()
  }

  async refreshFriend(): Promise<void> {
    await this.#friend.refresh()
    await this.#followFriend()
  }

  /** While there was no connection nobody told of new keys. */
  async requireCurrent(): Promise<void> {
    if (this.#isCurrent) return
    this.#isCurrent = true
    try {
      await this.refresh()
    } catch (error) {
      this.#isCurrent = false
      throw error
    }
  }

  // What the person, here or in another tab, decides

  /** What other tabs of this browser have pinned. */
  look(): Promise<void> {
    return this.#friend.look()
  }

  /** Other tabs of this browser may have decided, or sent what waited. */
  async lookAtDecisions(): Promise<void> {
    await this.#friend.look()
    if (this.#held > 0) await this.#followFriend()
  }

  /** Another identity of a friend who was never compared is taken, unless something waits that was written before. */
  async #followFriend(): Promise<void> {
    if (!this.#friend.hasChanged) {
      this.#held = 0
      return
    }
    if (this.trust === 'changed' && !this.#friend.isComparedElsewhere) return
    this.#held = await this.tools.outbox.countWaiting(this.tools.conversation)
    if (this.#held === 0) await this.#friend.accept()
  }

  /** `compared` is the code that was on the screen: what was compared is that, whatever the server has shown since. */
  confirm(compared: string | null): Promise<void> {
    return this.#decide(async () => {
      if (compared !== null && compared === this.safetyCode)
        await this.#friend.confirm(this.tools.clock.now())
    })
  }

  setMismatch(mismatch: boolean): Promise<void> {
    return this.#decide(() => this.#friend.setMismatch(mismatch))
  }

  unverify(): Promise<void> {
    return this.#decide(() => this.#friend.unverify())
  }

  accept(): Promise<void> {
    return this.#decide(() => this.#friend.accept())
  }

  async #decide(act: () => Promise<void>): Promise<void> {
    await act()
    if (!this.#friend.hasChanged) this.#held = 0
  }

  // What they compare

  /** What the own QR code says; null until both chains are here. */
  get safetyCode(): string | null {
    return this.#friend.isKnown ? qrText(this.#fingerprints()) : null
  }

  /** 60 digits, the same for both. */
  safetyNumber(): Promise<string> {
    const { own, peer } = this.#fingerprints()
    return safetyNumber(own, peer)
  }

  /** What a scanned code of the friend's screen says. */
  compareCode(text: string): 'fits' | 'differs' | 'no_code' {
    const code = readQrText(text)
    if (code === null) return 'no_code'
    const { own, peer } = this.#fingerprints()
    return equal(code.shower, peer) && equal(code.other, own) ? 'fits' : 'differs'
  }

  #fingerprints(): { readonly own: Bytes; readonly peer: Bytes } {
    return { own: this.tools.own.chain.fingerprint, peer: this.#friend.chain.fingerprint }
  }
}
