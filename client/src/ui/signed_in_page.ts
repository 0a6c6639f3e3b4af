/**
 * What a page of somebody who is signed in does when their keys in this browser go: locked, signed out, or renewed in
 * another tab. And it watches the time after which it locks by itself.
 */
import { AutoLock } from '../chat/auto_lock'
import { systemClock } from '../net/clock'
import { countUnsent, isLocked, lockAccount } from '../store/account_store'
import { openDatabase } from '../store/database'
import {
  keepLastSeen,
  lastSeen,
  lockAfter,
  type PreferenceStorage,
  preferenceStorage,
} from '../store/preferences'
import { listenToTabs, tellTabs } from './tabs'

const MINUTE_MS = 60_000

export interface SignedInPage {
  /** Folded. */
  readonly name: string
  /** Where to log in, without a query. */
  readonly logIn: string
  /** Puts what is only in memory where it is safe, before the page is left. */
  readonly keep: () => Promise<void>
  /** Keys were stored by another tab. */
  readonly onNewKeys: () => void
}

/** Who is signed in on this page, or null. */
export function personOf(page: Document): Pick<SignedInPage, 'name' | 'logIn'> | null {
  const meta = page.querySelector<HTMLMetaElement>('meta[name="person"]')
  return meta === null ? null : { name: meta.content, logIn: meta.dataset['logIn'] ?? '/' }
}

/** Goes to the log-in at once where the browser is locked already. */
export function watchKeys(page: SignedInPage): void {
  listenToTabs(page.name, (news) => {
    if (news === 'new_keys') page.onNewKeys()
    else void leave(page, news)
  })
  const storage = preferenceStorage()
  const lock = new AutoLock({
    clock: systemClock,
    signs: {
      last: () => lastSeen(storage),
      note: (at) => {
        keepLastSeen(storage, at)
      },
    },
    afterMs: () => lockAfterMs(storage),
    isBusy: () => hasUnsent(page.name),
    lock: () => lockNow(page),
  })
  watchLife(lock)
  void goWhereLocked(page)
    .then((gone) => (gone ? undefined : lock.start()))
    .catch(reportError)
}

/** Puts the keys away and takes every tab to the log-in. */
export async function lockNow(page: Pick<SignedInPage, 'name' | 'logIn' | 'keep'>): Promise<void> {
  await page.keep()
  const database = await openDatabase(page.name)
  try {
    await lockAccount(database)
  } finally {
    database.close()
  }
  tellTabs(page.name, 'locked')
  goToLogIn(page, 'locked')
}

/** Whether messages wait in this browser to be sent. */
export async function hasUnsent(name: string): Promise<boolean> {
  const database = await openDatabase(name)
  try {
    return (await countUnsent(database)) > 0
  } finally {
    database.close()
  }
}

async function goWhereLocked(page: SignedInPage): Promise<boolean> {
  const database = await openDatabase(page.name)
  const locked = await isLocked(database).finally(() => {
    database.close()
  })
  if (locked) goToLogIn(page, 'locked')
  return locked
}

async function leave(page: SignedInPage, why: 'locked' | 'signed_out'): Promise<void> {
  await page.keep().catch(() => undefined)
  goToLogIn(page, why)
}

export function goToLogIn(page: Pick<SignedInPage, 'logIn'>, why: 'locked' | 'signed_out'): void {
  const next = location.pathname + location.search
  location.replace(`${page.logIn}?${new URLSearchParams({ [why]: '1', next }).toString()}`)
}

function lockAfterMs(storage: PreferenceStorage | null): number | null {
  const minutes = lockAfter(storage)
  return minutes === 0 ? null : minutes * MINUTE_MS
}

function watchLife(lock: AutoLock): void {
  for (const sign of ['keydown', 'pointerdown', 'pointermove', 'wheel', 'touchstart'] as const) {
    window.addEventListener(
      sign,
      () => {
        lock.alive()
      },
      { capture: true, passive: true },
    )
  }
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState !== 'visible') return
    void lock.look().then((locked) => {
      if (!locked) lock.alive()
    })
  })
}
