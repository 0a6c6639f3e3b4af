/**
 * Sends the messages of one conversation that this tab owns: one after the other, sealed at the last moment.
 *
 * Until the answer comes, the sealed bytes are kept and sent again as they are, so that the server can tell a resend from
 * a second message. Once it has refused them, the content is sealed anew, under a new writer, after asking what it has.
 */
import { newWriter, type WriterState } from '../crypto/writer_chain'
import { RetryLater } from '../net/backoff'
import type { Clock } from '../net/clock'
import { type Ask, ConnectionLost, Refused } from '../net/socket'
import type { Bytes, Random } from '../wire/bytes'
import { MAX_ENVELOPE_BYTES } from '../wire/frames'
import type { Outbox, Outgoing } from './outbox'
import { type AfterRefusal, afterRefusal } from './sending'

/** A server that fails on a message, time after time, must not keep the others waiting. */
const STRIKES = 3
const ROUNDS = 6
/** Closed because of what was sent (RFC 6455 section 7.4.1): not as it must be, too large, or more than the server took. */
const CLOSED_FAILING: readonly (number | null)[] = [1002, 1003, 1007, 1008, 1009, 1011]

export interface SendingItem extends Outgoing {
  /** Its number, once the server says that it has stored it. Only the log proves it. */
  readonly storedN: number | null
}

export interface Sealed {
  readonly envelope: Bytes
  readonly epoch: number
  readonly writer: WriterState
}

export interface StoredEnvelope {
  readonly clientId: string
  readonly envelope: Bytes
  readonly n: number
  readonly storedAt: number
}

export type HaltReason = Extract<AfterRefusal, { readonly kind: 'halt' }>['reason']

export interface SenderTools {
  readonly conversation: string
  readonly ask: Ask
  readonly clock: Clock
  readonly random: Random
  /** From 0 up to, not including, 1. */
  readonly jitter: () => number
  readonly outbox: Outbox
  readonly canSend: () => boolean
  readonly lastN: () => number
  /** Makes the epoch first where there is none. Null where it turned out that nothing may be sent now. */
  readonly seal: (item: Outgoing, writer: WriterState) => Promise<Sealed | null>
  readonly onStored: (stored: StoredEnvelope) => Promise<void>
  readonly fetchEpochs: () => Promise<void>
  /** Confirms it if the log has it at `n`; throws if another message stands there. */
  readonly requireInLog: (clientId: string, n: number) => Promise<void>
  readonly onHalt: (reason: HaltReason) => void
  readonly onChange: () => void
  readonly onProblem: (error: unknown) => void
}

export interface Pause {
  readonly until: number
  readonly because: 'too_fast' | 'unavailable'
}

interface InFlight extends Sealed {
  readonly clientId: string
}

export class Sender {
  #items: readonly SendingItem[] = []
  #writer: WriterState
  #inFlight: InFlight | null = null
  #running = false
  #wokenMeanwhile = false
  #tooFastUntil: number | null = null
  readonly #unavailable: RetryLater
  readonly #rounds = new Map<string, number>()
  readonly #strikes = new Map<string, number>()

  constructor(private readonly tools: SenderTools) {
    this.#writer = newWriter(tools.random)
    this.#unavailable = new RetryLater(tools, () => {
      tools.onChange()
      this.wake()
    })
  }

  /** In the order of writing. What is stored stays until its row has come into the log. */
  get items(): readonly SendingItem[] {
    return this.#items
  }

  /** Those that have not reached the server, and may still. */
  get waiting(): readonly SendingItem[] {
    return this.#items.filter(({ failure, storedN }) => failure === null && storedN === null)
  }

  get pause(): Pause | null {
    if (this.#tooFastUntil !== null) return { until: this.#tooFastUntil, because: 'too_fast' }
    const { at } = this.#unavailable
    return at === null ? null : { until: at, because: 'unavailable' }
  }

  /** Resolves when the message is safe in this browser; sending goes on by itself. */
  async add(text: string): Promise<void> {
    this.adopt([await this.tools.outbox.add(this.tools.conversation, text, this.tools.lastN())])
  }

  adopt(items: readonly Outgoing[]): void {
    const known = new Set(this.#items.map(({ clientId }) => clientId))
    const fresh = items.filter(({ clientId }) => !known.has(clientId))
    const all = [...this.#items, ...fresh.map((item) => ({ ...item, storedN: null }))]
    this.#show(all.sort((a, b) => a.content.sentAt - b.content.sentAt))
    this.wake()
  }

  async retry(clientId: string): Promise<void> {
    const item = this.#items.find((one) => one.clientId === clientId)
    if (item?.failure == null) return
    this.#rounds.delete(clientId)
    this.#strikes.delete(clientId)
    await this.#mark({ ...item, mayBeStored: true }, null)
    this.wake()
  }

  /** The person does not want to wait until a server that could not store is asked again. */
  retryNow(): void {
    this.#unavailable.now()
  }

  /** Only what has failed can be deleted: what waits may be on its way. */
  async remove(clientId: string): Promise<void> {
    const item = this.#items.find((one) => one.clientId === clientId)
    if (item?.failure == null) return
    await this.#kept(this.tools.outbox.remove(clientId))
    this.#show(this.#items.filter((one) => one.clientId !== clientId))
  }

  /** Its row is in the log, wherever it was sent from. */
  async confirmed(clientIds: ReadonlySet<string>): Promise<void> {
    const seen = this.#items.filter((item) => clientIds.has(item.clientId))
    if (seen.length === 0) return
    this.#show(this.#items.filter((item) => !clientIds.has(item.clientId)))
    await this.#kept(Promise.all(seen.map(({ clientId }) => this.tools.outbox.remove(clientId))))
  }

  /** The server was caught: what it only said it had stored waits again. */
  doubt(): void {
    if (this.#items.every(({ storedN }) => storedN === null)) return
    this.#show(
      this.#items.map((item) =>
        item.storedN === null ? item : { ...item, storedN: null, mayBeStored: true },
      ),
    )
  }

  async failAll(reason: string): Promise<void> {
    this.#inFlight = null
    for (const item of this.waiting) await this.#mark(item, reason)
  }

  /** A server that is found again after a while is a new one. */
  connectionLost(): void {
    this.#unavailable.callOff()
  }

  /** Something changed that sending may have waited for. */
  wake(): void {
    if (this.pause !== null) return
    this.#wokenMeanwhile = this.#running
    if (this.#running) return
    this.#running = true
    void this.#run()
  }

  async #run(): Promise<void> {
    try {
      for (let item = this.#next(); item !== undefined; item = this.#next()) await this.#send(item)
    } catch (error) {
      if (!(error instanceof ConnectionLost)) this.tools.onProblem(error)
    } finally {
      this.#running = false
      // A connection may be back before the loss of the last one was seen to.
      if (this.#wokenMeanwhile) this.wake()
    }
  }

  #next(): SendingItem | undefined {
    if (this.pause !== null || !this.tools.canSend()) return undefined
    return this.waiting[0]
  }

  async #send(item: SendingItem): Promise<void> {
    try {
      const sealed = this.#inFlight?.clientId === item.clientId ? this.#inFlight : await this.#seal(item)
      if (sealed !== null) await this.#deliver(item, sealed)
    } catch (error) {
      if (error instanceof Refused) await this.#refused(item, error)
      else if (error instanceof ConnectionLost) await this.#lost(item, error)
      else throw error
    }
  }

  /** Null when there is nothing to send: the server has it already, or it cannot be sent at all. */
  async #seal(item: SendingItem): Promise<InFlight | null> {
    if (item.mayBeStored && (await this.#isStored(item))) return null
    const made = await this.tools.seal(item, this.#writer)
    if (made === null) return null
    const sealed = { ...made, clientId: item.clientId }
    if (sealed.envelope.length > MAX_ENVELOPE_BYTES) {
      await this.#mark(item, 'This message is too long to send.')
      return null
    }
    this.#inFlight = sealed
    return sealed
  }

  async #isStored(item: SendingItem): Promise<boolean> {
    const { ask, conversation, requireInLog } = this.tools
    const found = await ask({ type: 'envelopes.lookup', conversation, clientIds: [item.clientId] })
    const stored = found.items.find(({ clientId }) => clientId === item.clientId)
    if (stored === undefined) this.#replace({ ...item, mayBeStored: false })
    else await requireInLog(item.clientId, stored.n)
    return stored !== undefined
  }

  async #deliver(item: SendingItem, sealed: InFlight): Promise<void> {
    const { ask, conversation } = this.tools
    const { envelope, epoch } = sealed
    const { clientId } = item
    const { n, storedAt } = await ask({ type: 'envelope.send', conversation, clientId, epoch, envelope })
    this.#writer = sealed.writer
    this.#inFlight = null
    this.#unavailable.succeeded()
    this.#replace({ ...item, storedN: n })
    await this.tools.onStored({ clientId, envelope, n, storedAt })
  }

  async #refused(item: SendingItem, refusal: Refused): Promise<void> {
    const next = afterRefusal(refusal.code, refusal.message, refusal.retryAfter)
    switch (next.kind) {
      case 'seal_again': {
        this.#inFlight = null
        this.#writer = newWriter(this.tools.random)
        if (this.#count(this.#rounds, item) > ROUNDS) {
          await this.#mark(item, 'The server keeps refusing this message.')
          return
        }
        this.#replace({ ...item, mayBeStored: next.lookUp })
        if (next.epochs) await this.tools.fetchEpochs()
        return
      }
      case 'wait':
        this.#pauseFor(next.seconds, next.because)
        return
      case 'failed':
        this.#inFlight = null
        await this.#mark(item, next.reason)
        return
      case 'halt':
        this.#inFlight = null
        this.tools.onHalt(next.reason)
    }
  }

  async #lost(item: SendingItem, lost: ConnectionLost): Promise<void> {
    if (CLOSED_FAILING.includes(lost.closeCode) && this.#count(this.#strikes, item) >= STRIKES) {
      this.#inFlight = null
      await this.#mark(item, 'The server could not take this message.')
    }
    throw lost
  }

  #count(counts: Map<string, number>, item: SendingItem): number {
    const count = (counts.get(item.clientId) ?? 0) + 1
    counts.set(item.clientId, count)
    return count
  }

  #pauseFor(seconds: number, because: Pause['because']): void {
    if (because === 'unavailable') this.#unavailable.failed(seconds * 1000)
    else {
      const delayMs = Math.max(1, seconds) * 1000
      this.#tooFastUntil = this.tools.clock.now() + delayMs
      this.tools.clock.after(delayMs, () => {
        this.#tooFastUntil = null
        this.tools.onChange()
        this.wake()
      })
    }
    this.tools.onChange()
  }

  /** What is shown and sent from here on does not depend on whether the browser has room to write it down. */
  async #mark(item: SendingItem, failure: string | null): Promise<void> {
    await this.#kept(this.tools.outbox.markFailed(item, failure))
    if (this.#items.some(({ clientId }) => clientId === item.clientId)) this.#replace({ ...item, failure })
    else await this.#kept(this.tools.outbox.remove(item.clientId))
  }

  /** What cannot be written down is asked for again after the next start: the server knows what it has. */
  async #kept(writing: Promise<unknown>): Promise<void> {
    await writing.catch(this.tools.onProblem)
  }

  #replace(item: SendingItem): void {
    this.#show(this.#items.map((one) => (one.clientId === item.clientId ? item : one)))
  }

  #show(items: readonly SendingItem[]): void {
    this.#items = items
    this.tools.onChange()
  }
}
