/** Whether a friend who is online leaves one's own newest message unconfirmed: the server may be holding it back. */
import type { Clock } from '../net/clock'

/** So long a friend's browser may take to confirm a message before that is worth a word. */
const LATE_MS = 30_000

export class Lateness {
  #onlineSince: number | null = null
  /** `since` when it is here, by this browser's clock. */
  #newestOwn = { n: 0, since: 0 }

  constructor(
    private readonly tools: {
      readonly clock: Clock
      readonly deliveredN: () => number
      readonly onChange: () => void
    },
  ) {}

  /** Since when the friend is online without their browser confirming the newest message; null when all is well. */
  get since(): number | null {
    const { n, since } = this.#newestOwn
    const online = this.#onlineSince
    if (online === null || n <= this.tools.deliveredN()) return null
    return this.tools.clock.now() - Math.max(online, since) >= LATE_MS ? online : null
  }

  noteOnline(online: boolean | null): void {
    if (online !== true) this.#onlineSince = null
    else if (this.#onlineSince === null) {
      this.#onlineSince = this.tools.clock.now()
      this.#lookLater()
    }
  }

  noteOwn(n: number): void {
    this.#newestOwn = { n, since: this.tools.clock.now() }
    this.#lookLater()
  }

  /** The screen has to change when enough time has gone by, though nothing happens. */
  #lookLater(): void {
    this.tools.clock.after(LATE_MS + 1_000, () => {
      if (this.since !== null) this.tools.onChange()
    })
  }
}
