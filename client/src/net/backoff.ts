import type { Clock } from './clock'

const FIRST_PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 30_000

export interface BackoffOptions {
  readonly firstMs: number
  readonly capMs: number
  /** From 0 up to, not including, 1. */
  readonly random: () => number
  /** No ceiling is lower than this. */
  readonly spreadMs?: number
}

/**
 * How long to wait before reconnecting for the `attempt`-th time, counted from 1.
 *
 * Full jitter: a restarted server meets its clients spread out, not all at once.
 */
export function reconnectDelayMs(attempt: number, options: BackoffOptions): number {
  return Math.floor(options.random() * ceilingMs(attempt, options))
}

function ceilingMs(attempt: number, { firstMs, capMs, spreadMs = 0 }: BackoffOptions): number {
  return Math.max(spreadMs, Math.min(capMs, firstMs * 2 ** (attempt - 1)))
}

/**
 * Something that failed, and is tried again after 1, 2, 4 … 30 seconds, until it succeeds.
 *
 * At least half of each pause is waited, as the server has said that it cannot; the rest is jitter, because what failed
 * together would come back together.
 */
export class RetryLater {
  #failures = 0
  #waiting: { readonly at: number; readonly cancel: () => void } | null = null

  constructor(
    private readonly tools: { readonly clock: Clock; readonly jitter: () => number },
    private readonly run: () => void,
  ) {}

  /** When it is tried again, or null while it does not wait. */
  get at(): number | null {
    return this.#waiting?.at ?? null
  }

  /** Changes nothing while it waits already. */
  failed(atLeastMs = 0): void {
    if (this.#waiting !== null) return
    const { clock, jitter } = this.tools
    this.#failures += 1
    const options = { firstMs: FIRST_PAUSE_MS, capMs: LONGEST_PAUSE_MS, random: jitter }
    const ceiling = ceilingMs(this.#failures, options)
    const pauseMs = Math.max(atLeastMs, Math.floor((ceiling * (1 + jitter())) / 2))
    const cancel = clock.after(pauseMs, () => {
      this.now()
    })
    this.#waiting = { at: clock.now() + pauseMs, cancel }
  }

  succeeded(): void {
    this.#failures = 0
  }

  /** Tries what waits without waiting any longer. */
  now(): void {
    if (this.#waiting === null) return
    this.callOff()
    this.run()
  }

  callOff(): void {
    this.#waiting?.cancel()
    this.#waiting = null
  }
}
