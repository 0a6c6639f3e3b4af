/**
 * Messages of this person that the server does not have yet, unreadable on the disk, and who sends which.
 *
 * A message belongs to the tab where it was written, as long as that tab lives: a Web Lock says so, and the browser
 * lets go of it however the tab ends. What a dead tab left behind, the next one adopts.
 */
import { openLocal, sealLocal } from '../crypto/local_box'
import { LocalBoxBroken } from '../crypto/errors'
import type { Clock } from '../net/clock'
import type { Database, OutboxRecord } from '../store/database'
import type { Keep } from '../store/room'
import { adoptOrphans, countWaiting, putOutgoing, removeOutgoing } from '../store/outbox'
import { MalformedData, newClientId, newUuid, type Random } from '../wire/bytes'
import { decodeContent, encodeContent, type MessageContent } from '../wire/objects'

const LOCK_PREFIX = 'securechat-tab:'
const ADOPT_EVERY_MS = 5_000

export interface Outgoing {
  readonly clientId: string
  readonly conversation: string
  readonly content: MessageContent
  /** Why it was refused for good, or null while it waits. */
  readonly failure: string | null
  /** Whether an earlier page or tab may have sent it already: the server is asked before it is sealed. */
  readonly mayBeStored: boolean
}

/** The part of `navigator.locks` that is used. */
export interface Locks {
  request(name: string, held: () => Promise<unknown>): Promise<unknown>
  query(): Promise<{ readonly held?: readonly { readonly name?: string }[] }>
}

export interface OutboxTools {
  readonly database: Database
  readonly localKey: CryptoKey
  readonly locks: Locks
  readonly clock: Clock
  readonly random: Random
  readonly keep: Keep
}

export class Outbox {
  readonly #owner: string
  #letGo: () => void = () => undefined
  #cancel: () => void = () => undefined
  #closed = false
  #writing = 0
  #lastSentAt = 0

  constructor(private readonly tools: OutboxTools) {
    this.#owner = newUuid(tools.random)
  }

  /**
   * Calls `onAdopted` now with what earlier pages left, and later whenever another tab has gone.
   *
   * What goes wrong while looking is told to `onProblem`, and does not end the looking.
   */
  async open(
    onAdopted: (items: readonly Outgoing[]) => void,
    onProblem: (error: unknown) => void,
  ): Promise<void> {
    await this.#holdLock()
    const look = async (): Promise<void> => {
      try {
        const items = await this.#adopt()
        if (items.length > 0) onAdopted(items)
      } catch (error) {
        onProblem(error)
      }
      if (!this.#closed) this.#cancel = this.tools.clock.after(ADOPT_EVERY_MS, () => void look())
    }
    await look()
  }

  /** The tab ends: what waits is left to others. */
  close(): void {
    this.#closed = true
    this.#cancel()
    this.#letGo()
  }

  /** Whether something was written that is not on the disk yet: the page should not be left right now. */
  get isWriting(): boolean {
    return this.#writing > 0
  }

  /** Resolves when it is safe on the disk. `lastN` is the last of the log that was checked. */
  async add(conversation: string, text: string, lastN: number): Promise<Outgoing> {
    const { clock, random } = this.tools
    // Who takes over sends in the order of these times.
    this.#lastSentAt = Math.max(clock.now(), this.#lastSentAt + 1)
    const content: MessageContent = { kind: 'text', sentAt: this.#lastSentAt, text }
    const item = {
      clientId: newClientId(lastN, random),
      conversation,
      content,
      failure: null,
      mayBeStored: false,
    }
    this.#writing += 1
    try {
      await this.#put(item)
    } finally {
      this.#writing -= 1
    }
    return item
  }

  async markFailed(item: Outgoing, failure: string | null): Promise<Outgoing> {
    const marked = { ...item, failure }
    await this.#put(marked)
    return marked
  }

  /** How many wait in a conversation, in all tabs of this browser and of those that are gone. */
  countWaiting(conversation: string): Promise<number> {
    return countWaiting(this.tools.database, conversation)
  }

  async remove(clientId: string): Promise<void> {
    await removeOutgoing(this.tools.database, clientId)
  }

  async #put(item: Outgoing): Promise<void> {
    const { database, localKey, random, keep } = this.tools
    const record: OutboxRecord = {
      clientId: item.clientId,
      conversation: item.conversation,
      createdAt: item.content.sentAt,
      box: await sealLocal(localKey, purposeOf(item), encodeContent(item.content), random),
      owner: this.#owner,
      failure: item.failure,
    }
    await keep(() => putOutgoing(database, record))
  }

  async #adopt(): Promise<Outgoing[]> {
    const { locks, database } = this.tools
    const { held = [] } = await locks.query()
    const alive = new Set(held.map(({ name }) => name))
    const records = await adoptOrphans(database, this.#owner, (owner) => alive.has(LOCK_PREFIX + owner))
    const opened = await Promise.all(records.map((record) => this.#open(record)))
    const items = opened.filter((item) => item !== null)
    // What is written next comes after them, also when the clock went back.
    this.#lastSentAt = Math.max(this.#lastSentAt, ...items.map(({ content }) => content.sentAt))
    return items
  }

  /** What a former key of this browser sealed cannot be read any more: it goes. What a newer page wrote waits for one. */
  async #open(record: OutboxRecord): Promise<Outgoing | null> {
    const { clientId, conversation, failure } = record
    try {
      const content = decodeContent(await openLocal(this.tools.localKey, purposeOf(record), record.box))
      return { clientId, conversation, content, failure, mayBeStored: true }
    } catch (error) {
      if (error instanceof LocalBoxBroken) await this.remove(clientId)
      else if (!(error instanceof MalformedData)) throw error
      return null
    }
  }

  async #holdLock(): Promise<void> {
    await new Promise<void>((granted, refused) => {
      this.tools.locks
        .request(LOCK_PREFIX + this.#owner, () => {
          granted()
          return new Promise<void>((letGo) => {
            this.#letGo = letGo
          })
        })
        .catch(refused)
    })
  }
}

function purposeOf(item: { readonly conversation: string; readonly clientId: string }): string {
  return `outbox/${item.conversation}/${item.clientId}`
}
