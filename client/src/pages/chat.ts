/** The chat page: puts keys, connection and screen together. */
import { ChatSession } from '../chat/session'
import { createApi, csrfTokenOf } from '../net/api'
import { systemClock } from '../net/clock'
import { browserSocket } from '../net/socket'
import { isLocked, loadAccount } from '../store/account_store'
import { type Database, openDatabase, StorageRefused } from '../store/database'
import { enterSends, preferenceStorage } from '../store/preferences'
import { announceConnected } from '../ui/build_notice'
import '../ui/chat_app'
import type { ChatApp } from '../ui/chat_app'
import { type ChatPage, chatPage, type WhyLogIn } from '../ui/chat_page'
import { showMissingKeys, showNoStorage } from '../ui/missing_keys'
import { showRequests } from '../ui/nav_badges'
import { goToLogIn, personOf, watchKeys } from '../ui/signed_in_page'
import { systemRandom } from '../wire/bytes'

const API_TIMEOUT_MS = 20_000
/** Browsers refuse to carry on with a larger body after the page is gone. */
const KEEPALIVE_BYTES = 60_000

async function start(): Promise<void> {
  const page = chatPage(document)
  let database: Database
  try {
    database = await openDatabase(page.foldedName)
  } catch (error) {
    if (!(error instanceof StorageRefused)) throw error
    showNoStorage(document)
    return
  }
  const account = await loadAccount(database)
  if (account === undefined) {
    const person = personOf(document)
    if (person !== null && (await isLocked(database))) goToLogIn(person, 'locked')
    else showMissingKeys(document, page)
    return
  }
  const session = new ChatSession({
    account,
    database,
    api: createApi({ fetch: outliving, csrfToken: csrfTokenOf(document), timeoutMs: API_TIMEOUT_MS }),
    connect: () => browserSocket(page.socketPath),
    clock: systemClock,
    random: systemRandom,
    jitter: Math.random,
    locks: navigator.locks,
    isOnline: () => navigator.onLine,
  })
  bindPage(session, page)
  bindKeys(session)
  show(session, page)
  await session.start(page.conversation)
}

/** The vault is written when the page is left, so the request has to outlive it. */
const outliving: typeof fetch = (input, init) => {
  const size = typeof init?.body === 'string' ? init.body.length : 0
  return fetch(input, { ...init, keepalive: size < KEEPALIVE_BYTES })
}

function show(session: ChatSession, page: ChatPage): void {
  const app: ChatApp = document.createElement('chat-app')
  app.session = session
  app.places = page.places
  app.limit = page.maxCharacters
  app.reports = page.reports
  app.enterSends = enterSends(preferenceStorage())
  app.siteName = document.title.split(' · ').at(-1) ?? ''
  app.onAction = (action) => {
    if (action === 'reload') location.reload()
    else location.assign(page.logIn(location.pathname, whyLogIn(session)))
  }
  document.querySelector('[data-chat]')?.replaceWith(app)
}

function whyLogIn({ trouble }: ChatSession): WhyLogIn {
  if (trouble?.kind === 'signed_out' || trouble?.kind === 'keys_renewed') return trouble.kind
  return 'keys_missing'
}

/** Locked, signed out or given new keys in another tab: what is written stays, and the page goes along. */
function bindKeys(session: ChatSession): void {
  const person = personOf(document)
  if (person === null) return
  watchKeys({
    ...person,
    keep: () => session.keep(),
    onNewKeys: () =>
      void session.keep().then(() => {
        location.reload()
      }),
  })
}

function bindPage(session: ChatSession, page: ChatPage): void {
  window.addEventListener('online', () => {
    session.retryNow()
  })
  window.addEventListener('offline', () => {
    session.connection.wentOffline()
  })
  window.addEventListener('beforeunload', (event) => {
    if (session.isWriting) event.preventDefault()
  })
  window.addEventListener('pagehide', () => void session.keep())
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') session.retryNow()
    else void session.keep()
  })
  window.addEventListener('pageshow', (event) => {
    if (event.persisted) location.reload()
  })
  let wasOpen = false
  session.onChange(() => {
    const isOpen = session.connection.state.kind === 'open'
    if (isOpen && !wasOpen) announceConnected(document)
    wasOpen = isOpen
    showRequests(document, session.requests)
    if (session.trouble?.kind === 'keys_missing') showMissingKeys(document, page)
  })
}

await start()
