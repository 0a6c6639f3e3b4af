/** Small choices of this browser, kept in the clear. A browser without storage has the defaults. */

export type Theme = 'auto' | 'light' | 'dark'

/** `localStorage`, or what stands in for it. */
export type PreferenceStorage = Pick<Storage, 'getItem' | 'setItem' | 'removeItem' | 'clear'>

const THEME = 'theme'
const ENTER_SENDS = 'enter-sends'

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
