/** Which newer browsers of the person this one has told of, so that each is told once. */
import type { Database } from './database'

export async function loadSeenBrowsers(database: Database): Promise<ReadonlySet<string>> {
  return new Set(await database.getAllKeys('seenBrowsers'))
}

/** `device` in hexadecimal. */
export async function keepSeenBrowser(database: Database, device: string): Promise<void> {
  await database.put('seenBrowsers', { device })
}
