/** Whether a write failed because the browser has no room left for this site. */
export function isOutOfRoom(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'QuotaExceededError'
}

/** Carries out a write of something that a person wrote; whoever passes this notes how it ended. */
export type Keep = <T>(write: () => Promise<T>) => Promise<T>
