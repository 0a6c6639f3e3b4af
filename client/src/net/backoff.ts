export interface BackoffOptions {
  readonly firstMs: number
  readonly capMs: number
  /** From 0 up to, not including, 1. */
  readonly random: () => number
}

/**
 * How long to wait before reconnecting for the `attempt`-th time, counted from 1.
 *
 * Full jitter: a restarted server meets its clients spread out, not all at once.
 */
export function reconnectDelayMs(attempt: number, options: BackoffOptions): number {
  const ceiling = Math.min(options.capMs, options.firstMs * 2 ** (attempt - 1))
  return Math.floor(options.random() * ceiling)
}
