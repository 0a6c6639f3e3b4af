/** Speaks new messages through one polite region, at most one sentence a second. */

const EVERY_MS = 1_000

export class Announcer {
  readonly #waiting = new Map<string, string[]>()
  #sentences: string[] = []
  #timer: ReturnType<typeof setTimeout> | null = null

  constructor(private readonly show: (text: string) => void) {}

  say(name: string, text: string): void {
    this.#waiting.set(name, [...(this.#waiting.get(name) ?? []), text])
    if (this.#timer === null) this.#speak()
  }

  /** What is no message; before those. */
  tell(sentence: string): void {
    this.#sentences.push(sentence)
    if (this.#timer === null) this.#speak()
  }

  #speak(): void {
    const sentence = [...this.#sentences, sentenceFor(this.#waiting)].join(' ').trim()
    this.#sentences = []
    this.#waiting.clear()
    this.#timer = null
    if (sentence === '') return
    this.show(sentence)
    this.#timer = setTimeout(() => {
      this.#speak()
    }, EVERY_MS)
  }
}

/** "Test01: hello", or "4 new messages from Test01" when there are several. */
export function sentenceFor(waiting: ReadonlyMap<string, readonly string[]>): string {
  return [...waiting]
    .map(([name, texts]) =>
      texts.length === 1 ? `${name}: ${texts[0] ?? ''}` : `${texts.length} new messages from ${name}`,
    )
    .join('. ')
}
