import type { Clock } from '../../src/net/clock'

/** Time that stands still until the test moves it. */
export class TestClock implements Clock {
  time = 1_000_000
  readonly #timers = new Map<object, { readonly at: number; readonly run: () => void }>()

  now(): number {
    return this.time
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { at: this.time + delayMs, run }
    this.#timers.set(timer, timer)
    return () => {
      this.#timers.delete(timer)
    }
  }

  pass(ms: number): void {
    const end = this.time + ms
    for (;;) {
      let next: { readonly at: number; readonly run: () => void } | null = null
      for (const timer of this.#timers.values())
        if (timer.at <= end && (next === null || timer.at < next.at)) next = timer
      if (next === null) break
      this.#timers.delete(next)
      this.time = next.at
      next.run()
    }
    this.time = end
  }
}
