/** Small choices of this browser, kept in the clear. A browser without storage has the defaults. */

export type Theme = 'auto' | 'light' | 'dark'

/** `localStorage`, or what stands in for it. */
export type PreferenceStorage = Pick<Storage, 'getItem' | 'setItem' | 'removeItem' | 'clear'>

const THEME = 'theme'
const ENTER_SENDS = 'enter-sends'
const LOCK_AFTER = 'lock-after-minutes'
const LAST_SEEN = 'last-seen'

/** Minutes without a sign of life before this browser locks; 0 is never. */
export const LOCK_CHOICES = [0, 5, 15, 60] as const
export type LockAfter = (typeof LOCK_CHOICES)[number]

/** The browser's storage, or null where even asking for it throws. */
export function preferenceStorage(): PreferenceStorage | null {
  try {
    return globalThis.localStorage
  } catch {
    return null
  }
}

export function themeOf(storage: PreferenceStorage | null): Theme {
  const value = storage?.getItem(THEME)
  return value === 'light' || value === 'dark' ? value : 'auto'
}

/** Returns whether the browser kept it. */
export function keepTheme(storage: PreferenceStorage | null, theme: Theme): boolean {
  return keep(storage, THEME, theme === 'auto' ? null : theme)
}

/** Whether Enter sends and Shift+Enter makes a line; otherwise the other way round. */
export function enterSends(storage: PreferenceStorage | null): boolean {
  return storage?.getItem(ENTER_SENDS) !== 'no'
}

/** Returns whether the browser kept it. */
export function keepEnterSends(storage: PreferenceStorage | null, sends: boolean): boolean {
  return keep(storage, ENTER_SENDS, sends ? null : 'no')
}

export function lockAfter(storage: PreferenceStorage | null): LockAfter {
  const value = storage?.getItem(LOCK_AFTER)
  return LOCK_CHOICES.find((minutes) => String(minutes) === value) ?? 0
}

/** Returns whether the browser kept it. */
export function keepLockAfter(storage: PreferenceStorage | null, minutes: LockAfter): boolean {
  return keep(storage, LOCK_AFTER, minutes === 0 ? null : String(minutes))
}

/** When somebody was last seen at this browser, in milliseconds since 1970, or null. */
export function lastSeen(storage: PreferenceStorage | null): number | null {
  const value = Number(storage?.getItem(LAST_SEEN) ?? NaN)
  return Number.isSafeInteger(value) ? value : null
}

export function keepLastSeen(storage: PreferenceStorage | null, at: number): void {
  keep(storage, LAST_SEEN, String(at))
}

function keep(storage: PreferenceStorage | null, key: string, value: string | null): boolean {
  if (storage === null) return false
  try {
    if (value === null) storage.removeItem(key)
    else storage.setItem(key, value)
    return true
  } catch {
    return false
  }
}
