/**
 * When this browser locks by itself: after a while in which nobody pressed a key, clicked or looked, in any tab.
 *
 * What is locked away is decided elsewhere; this only watches the time. Tabs share the last sign of life, and it
 * outlives them: a browser that was closed meanwhile is locked when it comes back.
 */
import type { Clock } from '../net/clock'

/** Shared between the tabs of this browser. */
export interface SignsOfLife {
  /** Milliseconds since 1970, or null before the first. */
  last(): number | null
  note(at: number): void
}

export interface AutoLockTools {
  readonly clock: Clock
  readonly signs: SignsOfLife
  /** Asked each time, as Settings in another tab may change it; null never locks. */
  readonly afterMs: () => number | null
  /** Whether messages wait to be sent: then it does not lock yet. */
  readonly isBusy: () => Promise<boolean>
  readonly lock: () => Promise<void>
}

/** How often the time is looked at. Browsers slow timers of hidden tabs down to about this. */
const LOOK_EVERY_MS = 15_000
/** More often is no use to anybody. */
const NOTE_EVERY_MS = 5_000

export class AutoLock {
  #noted = -Infinity
  #cancel: () => void = () => undefined
  #ended = false

  constructor(private readonly tools: AutoLockTools) {}

  /** Locks at once if the time was over before this page came. Otherwise opening it is a sign of life. */
  async start(): Promise<void> {
    if (!(await this.look())) {
      this.alive()
      this.#lookLater()
    }
  }

  stop(): void {
    this.#ended = true
    this.#cancel()
  }

  /** Somebody pressed a key, clicked, or came back to look. A click after the time was over comes too late. */
  alive(): void {
    const now = this.tools.clock.now()
    if (this.#ended || now - this.#noted < NOTE_EVERY_MS || this.#isOver()) return
    this.#noted = now
    this.tools.signs.note(now)
  }

  /** Locks if the time is over and nothing waits. Returns whether it did. */
  async look(): Promise<boolean> {
    if (this.#ended || !this.#isOver() || (await this.tools.isBusy())) return false
    // Another tab may have seen somebody while this one asked.
    if (!this.#isOver()) return false
    this.stop()
    await this.tools.lock()
    return true
  }

  #isOver(): boolean {
    const { clock, signs } = this.tools
    const [after, last] = [this.tools.afterMs(), signs.last()]
    return after !== null && last !== null && clock.now() - last >= after
  }

  #lookLater(): void {
    if (this.#ended) return
    this.#cancel = this.tools.clock.after(LOOK_EVERY_MS, () => {
      void this.look().finally(() => {
        this.#lookLater()
      })
    })
  }
}
