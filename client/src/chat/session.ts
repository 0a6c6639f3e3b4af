/** The chat of one tab: its connection, the list of conversations, the vault and the outbox, put together. */
import { type Api, ApiRefused, ApiUnreachable } from '../net/api'
import { RetryLater } from '../net/backoff'
import type { Clock } from '../net/clock'
import {
  Connection,
  type ConnectionState,
  ConnectionLost,
  type Push,
  Refused,
  type SocketLike,
} from '../net/socket'
import { KeysRenewed } from '../crypto/errors'
import { withPreferences } from '../crypto/vault'
import { loadAccount, lockAccount } from '../store/account_store'
import type { AccountRecord, Database } from '../store/database'
import { isOutOfRoom, type Keep } from '../store/room'
import { keepSeenBrowser, loadSeenBrowsers } from '../store/seen_browsers'
import { type Random, toHex } from '../wire/bytes'
import type { Row, Summary } from '../wire/frames'
import { type AlarmCode, alarmCodeOf, OwnKeysRefused } from './alarms'
import { Conversation } from './conversation'
import { Drafts } from './drafts'
import { type Locks, Outbox, type Outgoing } from './outbox'
import { DeviceMissing, OwnChain } from './people'
import { putKeysAwayIfSignedOut } from './signed_out'
import type { Entry } from './timeline'
import { VaultKeeper } from './vault_keeper'

/** So many conversations are fetched and checked without being looked at, so that the list can show their last lines. */
const OPEN_AHEAD = 20
const LIST_PAGES = 50

export interface SessionTools {
  readonly account: AccountRecord
  readonly database: Database
  readonly api: Api
  readonly connect: () => SocketLike
  readonly clock: Clock
  readonly random: Random
  /** From 0 up to, not including, 1. */
  readonly jitter: () => number
  readonly locks: Locks
  readonly isOnline: () => boolean
}

/** Why the page cannot go on by itself. */
export type Trouble =
  | { readonly kind: 'signed_out' }
  /** The browser has lost its keys. */
  | { readonly kind: 'keys_missing' }
  /** The vault key was replaced: the password is needed once, or only a new page where this browser has the new one. */
  | { readonly kind: 'keys_renewed'; readonly inThisBrowser: boolean }
  | { readonly kind: 'alarm'; readonly code: AlarmCode }
  | { readonly kind: 'bug' }

/** A browser that signed in to the account after this one. */
export interface SignIn {
  /** In hexadecimal. */
  readonly device: string
  /** Milliseconds since 1970, by the clock of that browser. */
  readonly at: number
}

export interface Arrival {
  readonly conversation: Conversation
  readonly entries: readonly Entry[]
}

export class ChatSession {
  readonly connection: Connection
  readonly drafts: Drafts
  readonly #vault: VaultKeeper
  readonly #own: OwnChain
  readonly #outbox: Outbox
  readonly #conversations = new Map<string, Conversation>()
  readonly #listeners = new Set<() => void>()
  readonly #arrivalListeners = new Set<(arrival: Arrival) => void>()
  #unrouted: readonly Outgoing[] = []
  #selected: string | null = null
  #requests = 0
  #listed = false
  #trouble: Trouble | null = null
  #notified = false
  #isStorageFull = false
  readonly #connectLater: RetryLater
  #seenBrowsers: ReadonlySet<string> | null = null

  constructor(private readonly tools: SessionTools) {
    const { account, database, api, clock, random, locks } = tools
    const { localKey } = account.browser
    const onProblem = (error: unknown): void => {
      this.#problem(error)
    }
    this.#connectLater = new RetryLater(tools, () => void this.#connected())
    this.connection = new Connection({
      connect: tools.connect,
      clock,
      random: tools.jitter,
      isOnline: tools.isOnline,
      onState: (state) => {
        this.#connectionMoved(state)
      },
      onPush: (frame) => {
        this.#push(frame)
      },
    })
    this.#vault = new VaultKeeper({ api, clock, random, keys: account.browser, database, onProblem })
    const { ask } = this.connection
    this.#own = new OwnChain({
      ask,
      clock,
      keys: account.browser,
      vault: this.#vault,
      database,
      onGrown: () => {
        this.#changed()
      },
    })
    const keep = this.#keep
    this.#outbox = new Outbox({ database, localKey, locks, clock, random, keep })
    this.drafts = new Drafts({ database, localKey, clock, random, keep, onProblem })
  }

  get api(): Api {
    return this.tools.api
  }

  /** Newer browsers of this person that were not told of yet, or whose notice was not seen to. */
  get signIns(): readonly SignIn[] {
    const seen = this.#seenBrowsers
    if (seen === null) return []
    return this.#own.newerBrowsers
      .map(({ id, addedAt }) => ({ device: toHex(id), at: addedAt }))
      .filter(({ device }) => !seen.has(device))
  }
  /** Whether friends are shown what was read here, and the other way round. */
  get sharesRead(): boolean {
    return !this.#vault.isLoaded || this.#vault.content.preferences.sharesRead
  }
  get ownName(): string {
    return this.tools.account.username
  }
  /** Whether a message was written that this browser has not kept yet. */
  get isWriting(): boolean {
    return this.#outbox.isWriting
  }
  get requests(): number {
    return this.#requests
  }
  get trouble(): Trouble | null {
    return this.#trouble
  }
  /** Whether what was written last could not be kept, because the browser has no room left. */
  get isStorageFull(): boolean {
    return this.#isStorageFull
  }
  /** When the server is asked again for the list that it could not give; null when it is here. */
  get retryAt(): number | null {
    return this.#connectLater.at
  }
  /** Whether the list has come from the server at least once. */
  get isListed(): boolean {
    return this.#listed
  }
  get selected(): Conversation | null {
    return this.#selected === null ? null : (this.#conversations.get(this.#selected) ?? null)
  }
  get selectedId(): string | null {
    return this.#selected
  }
  /** The newest activity first. */
  get conversations(): readonly Conversation[] {
    return [...this.#conversations.values()].sort((a, b) => b.summary.activeAt - a.summary.activeAt)
  }

  async dismissSignIn(device: string): Promise<void> {
    this.#seenBrowsers = new Set([...(this.#seenBrowsers ?? []), device])
    this.#changed()
    await keepSeenBrowser(this.tools.database, device)
  }

  setSharesRead(sharesRead: boolean): void {
    this.#vault.change((content) => withPreferences(content, { ...content.preferences, sharesRead }))
    this.#changed()
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Rows that came by themselves while the page was open. */
  onArrival(listener: (arrival: Arrival) => void): () => void {
    this.#arrivalListeners.add(listener)
    return () => this.#arrivalListeners.delete(listener)
  }

  async start(selected: string | null): Promise<void> {
    this.#selected = selected
    try {
      await this.drafts.load()
      this.#seenBrowsers = await loadSeenBrowsers(this.tools.database)
      this.connection.start()
      await this.#outbox.open(
        (items) => {
          this.#unrouted = [...this.#unrouted, ...items]
          this.#route()
        },
        (error) => {
          this.#problem(error)
        },
      )
    } catch (error) {
      this.#problem(error)
    }
  }

  /** The page is left, or at least not looked at: what is only in memory goes where it is safe. */
  async keep(): Promise<void> {
    await Promise.all([this.drafts.flush(), this.#vault.flush()]).catch((error: unknown) => {
      this.#problem(error)
    })
  }

  /** The person, or something that happened, does not want to wait for the next try. */
  retryNow(): void {
    this.connection.retryNow()
    this.#connectLater.now()
    for (const conversation of this.#conversations.values()) conversation.retryNow()
  }

  stop(): void {
    this.#connectLater.callOff()
    this.connection.stop()
    this.#outbox.close()
  }

  select(id: string | null): void {
    this.#selected = id
    void this.selected?.open()
    this.#changed()
  }

  #changed(): void {
    if (this.#notified) return
    this.#notified = true
    queueMicrotask(() => {
      this.#notified = false
      for (const listener of this.#listeners) listener()
    })
  }

  #problem(error: unknown): void {
    if (error instanceof ConnectionLost || error instanceof ApiUnreachable) return
    if (isOutOfRoom(error)) {
      this.#setStorageFull(true)
      return
    }
    if (error instanceof KeysRenewed) {
      void this.#keysRenewed()
      return
    }
    if (error instanceof DeviceMissing) void this.#putKeysAway((database) => lockAccount(database))
    this.#trouble = this.#troubleOf(error)
    if (this.#trouble.kind === 'bug') console.error(error)
    if (this.#trouble.kind !== 'alarm' && this.#trouble.kind !== 'bug') this.stop()
    this.#changed()
  }

  readonly #keep: Keep = async (write) => {
    try {
      const written = await write()
      this.#setStorageFull(false)
      return written
    } catch (error) {
      if (isOutOfRoom(error)) this.#setStorageFull(true)
      throw error
    }
  }

  #setStorageFull(isFull: boolean): void {
    if (this.#isStorageFull === isFull) return
    this.#isStorageFull = isFull
    this.#changed()
  }

  async #keysRenewed(): Promise<void> {
    const { account, database } = this.tools
    const now = await loadAccount(database).catch(() => undefined)
    const inThisBrowser = (now?.browser.vaultGeneration ?? 0) > account.browser.vaultGeneration
    this.#trouble = { kind: 'keys_renewed', inThisBrowser }
    this.stop()
    this.#changed()
  }

  /** What was written stays, unreadable without the password. */
  async #putKeysAway(put: (database: Database) => Promise<unknown>): Promise<void> {
    try {
      await this.drafts.flush()
      await put(this.tools.database)
    } catch (error) {
      this.#problem(error)
    }
  }

  #troubleOf(error: unknown): Trouble {
    const code = alarmCodeOf(error)
    if (code !== null) return { kind: 'alarm', code }
    if (error instanceof OwnKeysRefused) return { kind: 'alarm', code: error.code }
    if (error instanceof DeviceMissing) return { kind: 'signed_out' }
    // The database was closed under this tab: another one signed out, or the browser cleared its storage.
    if (error instanceof DOMException && error.name === 'InvalidStateError') return { kind: 'keys_missing' }
    if (error instanceof ApiRefused && (error.status === 401 || error.status === 403))
      return { kind: 'signed_out' }
    return { kind: 'bug' }
  }

  #connectionMoved(state: ConnectionState): void {
    if (state.kind === 'signed_out') {
      this.#trouble = { kind: 'signed_out' }
      const { api, locks } = this.tools
      void this.#putKeysAway((database) => putKeysAwayIfSignedOut({ api, locks, database }))
    }
    if (state.kind !== 'open') {
      this.#connectLater.callOff()
      for (const one of this.#conversations.values()) one.onConnectionLost()
    }
    this.#changed()
  }

  #push(frame: Push): void {
    switch (frame.type) {
      case 'welcome':
        this.#requests = frame.requests
        void this.#connected()
        break
      case 'envelope.new':
        this.#row(frame.conversation, frame.row)
        break
      case 'head.new':
        this.#conversations.get(frame.conversation)?.onHead(frame.side, frame.head)
        break
      case 'epoch.new':
        this.#conversations.get(frame.conversation)?.onEpoch(frame.record)
        break
      case 'presence':
        this.#conversations.get(frame.conversation)?.onPresence(frame.online)
        break
      case 'conversation.changed':
        this.#update(frame.summary)
        break
      case 'requests':
        this.#requests = frame.count
        break
      case 'keys.changed':
        this.#keysChanged(frame.conversation)
        break
      case 'refused':
        // Without a `ref` it answers nothing that anybody waits for.
        break
    }
    this.#changed()
  }

  #row(id: string, row: Row): void {
    const conversation = this.#conversations.get(id)
    if (conversation === undefined) void this.#connected()
    else {
      conversation.onRow(row)
      void conversation.open()
    }
  }

  #keysChanged(id: string | null): void {
    if (id !== null) this.#conversations.get(id)?.onKeysChanged()
    else
      this.#refreshOwn().catch((error: unknown) => {
        if (error instanceof Refused) this.#connectLater.failed()
        else this.#problem(error)
      })
  }

  /** One's own chain may be asked for in any conversation. */
  async #refreshOwn(): Promise<void> {
    const [any] = this.#conversations.keys()
    if (any !== undefined) await this.#own.refresh(any)
  }

  /** A new connection: the vault, the list, and then whatever was missed in each conversation. */
  async #connected(): Promise<void> {
    try {
      if (!this.#vault.isLoaded) await this.#vault.load()
      for (const summary of await this.#list()) this.#update(summary)
      this.#listed = true
      this.#connectLater.succeeded()
      this.#changed()
      this.#route()
      await this.selected?.open()
      for (const conversation of this.conversations.slice(0, OPEN_AHEAD)) await conversation.open()
    } catch (error) {
      if (error instanceof ApiUnreachable || error instanceof Refused || isOutOfRoom(error))
        this.#connectLater.failed()
      if (!(error instanceof Refused)) this.#problem(error)
      this.#changed()
    }
  }

  async #list(): Promise<Summary[]> {
    const items: Summary[] = []
    for (let page = 1; page <= LIST_PAGES; page += 1) {
      const before = items.at(-1)?.conversation ?? null
      const answer = await this.connection.ask({ type: 'conversations.list', before })
      items.push(...answer.items)
      if (!answer.more || answer.items.length === 0) break
    }
    return items
  }

  #update(summary: Summary): void {
    const known = this.#conversations.get(summary.conversation)
    if (known !== undefined) {
      known.onSummary(summary)
      return
    }
    const { clock, random, jitter, account, database } = this.tools
    const conversation = new Conversation(summary, {
      ask: this.connection.ask,
      isConnected: () => this.connection.state.kind === 'open',
      clock,
      random,
      jitter,
      keys: account.browser,
      database,
      vault: this.#vault,
      own: this.#own,
      outbox: this.#outbox,
      onChange: () => {
        this.#changed()
      },
      onArrived: (entries, pushed) => {
        if (pushed) for (const listener of this.#arrivalListeners) listener({ conversation, entries })
      },
      onProblem: (error) => {
        this.#problem(error)
      },
    })
    this.#conversations.set(summary.conversation, conversation)
  }

  /** Hands messages that an earlier page left to their conversations, once these are known. */
  #route(): void {
    const known = this.#unrouted.filter(({ conversation }) => this.#conversations.has(conversation))
    this.#unrouted = this.#unrouted.filter((item) => !known.includes(item))
    for (const item of known) {
      const conversation = this.#conversations.get(item.conversation)
      conversation?.sender.adopt([item])
      void conversation?.open()
    }
  }
}
