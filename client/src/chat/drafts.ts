/** What was typed and not sent, kept for each conversation where only this browser can read it. */
import { LocalBoxBroken } from '../crypto/errors'
import { openLocal, sealLocal } from '../crypto/local_box'
import type { Clock } from '../net/clock'
import type { Database } from '../store/database'
import { dropDraft, keepDraft, loadDrafts } from '../store/drafts'
import type { Keep } from '../store/room'
import { fromUtf8, type Random, utf8 } from '../wire/bytes'

const WRITE_AFTER_MS = 400

export interface DraftTools {
  readonly database: Database
  readonly localKey: CryptoKey
  readonly clock: Clock
  readonly random: Random
  readonly keep: Keep
  readonly onProblem: (error: unknown) => void
}

export class Drafts {
  readonly #texts = new Map<string, string>()
  readonly #unwritten = new Set<string>()
  #cancel: () => void = () => undefined

  constructor(private readonly tools: DraftTools) {}

  async load(): Promise<void> {
    for (const { conversation, box } of await loadDrafts(this.tools.database)) {
      try {
        const text = fromUtf8(await openLocal(this.tools.localKey, purposeOf(conversation), box))
        if (!this.#texts.has(conversation)) this.#texts.set(conversation, text)
      } catch (error) {
        if (!(error instanceof LocalBoxBroken)) throw error
        await dropDraft(this.tools.database, conversation)
      }
    }
  }

  of(conversation: string): string {
    return this.#texts.get(conversation) ?? ''
  }

  set(conversation: string, text: string): void {
    this.#texts.set(conversation, text)
    this.#unwritten.add(conversation)
    this.#cancel()
    this.#cancel = this.tools.clock.after(WRITE_AFTER_MS, () => {
      this.flush().catch(this.tools.onProblem)
    })
  }

  /** What could not be written is written with the next. */
  async flush(): Promise<void> {
    this.#cancel()
    const conversations = [...this.#unwritten]
    this.#unwritten.clear()
    await Promise.all(
      conversations.map((conversation) =>
        this.#write(conversation).catch((error: unknown) => {
          this.#unwritten.add(conversation)
          throw error
        }),
      ),
    )
  }

  async #write(conversation: string): Promise<void> {
    const { database, localKey, clock, random, keep } = this.tools
    const text = this.of(conversation)
    if (text === '') {
      await dropDraft(database, conversation)
      return
    }
    const box = await sealLocal(localKey, purposeOf(conversation), utf8(text), random)
    await keep(() => keepDraft(database, { conversation, updatedAt: clock.now(), box }))
  }
}

function purposeOf(conversation: string): string {
  return `draft/${conversation}`
}
