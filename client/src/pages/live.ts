/** Every page of a signed-in person but the chat: the numbers in the bar, and who is online, as they change. */
import { putKeysAwayIfSignedOut } from '../chat/signed_out'
import { createApi, csrfTokenOf } from '../net/api'
import { systemClock } from '../net/clock'
import { browserSocket, Connection, type Push } from '../net/socket'
import { openDatabase } from '../store/database'
import { loadPins } from '../store/pins'
import { loadPositions } from '../store/positions'
import { announceConnected } from '../ui/build_notice'
import { showRequests, showUnread, showVerified } from '../ui/nav_badges'
import { presenceState, presenceWord } from '../ui/person'
import { goToLogIn, personOf, watchKeys } from '../ui/signed_in_page'
import type { Side } from '../wire/frames'

const SOCKET_PATH = '/ws/'
const API_TIMEOUT_MS = 20_000

/** One's own side in each conversation, and which have something new. */
const sides = new Map<string, Side>()
const unread = new Set<string>()

const connection = new Connection({
  connect: () => browserSocket(SOCKET_PATH),
  clock: systemClock,
  random: Math.random,
  isOnline: () => navigator.onLine,
  onState: ({ kind }) => {
    if (kind === 'signed_out') signedOut().catch(reportError)
  },
  onPush: push,
})

function push(frame: Push): void {
  switch (frame.type) {
    case 'welcome':
      announceConnected(document)
      showRequests(document, frame.requests)
      for (const { conversation, online } of frame.presence) showPresence(conversation, online)
      list(frame.name).catch(() => undefined)
      break
    case 'presence':
      showPresence(frame.conversation, frame.online)
      break
    case 'requests':
      showRequests(document, frame.count)
      break
    case 'envelope.new':
      if (sides.get(frame.conversation) !== frame.row.side) unread.add(frame.conversation)
      showUnread(document, unread.size)
      break
    default:
      break
  }
}

/** What came since this browser's last look, and who was verified. Where it keeps nothing, nothing is counted. */
async function list(name: string): Promise<void> {
  const database = await openDatabase(name)
  const [positions, pins] = await Promise.all([loadPositions(database), loadPins(database)])
  database.close()
  const verified = pins.filter(({ verifiedAt }) => verifiedAt > 0)
  showVerified(document, new Set(verified.map(({ conversation }) => conversation)))
  const read = new Map(positions.map(({ conversation, readN }) => [conversation, readN]))
  const { items } = await connection.ask({ type: 'conversations.list', before: null })
  unread.clear()
  for (const { conversation, side, last } of items) {
    sides.set(conversation, side)
    if (last !== null && last.side !== side && last.n > (read.get(conversation) ?? 0))
      unread.add(conversation)
  }
  showUnread(document, unread.size)
}

function showPresence(conversation: string, online: boolean | null): void {
  const row = document.querySelector(`[data-conversation="${CSS.escape(conversation)}"]`)
  const place = row?.querySelector<HTMLElement>('[data-presence]')
  if (place === null || place === undefined) return
  place.dataset['state'] = presenceState(online)
  place.textContent = presenceWord(online)
}

/** A page of a former session, as after a new password, goes on with the present one. */
async function signedOut(): Promise<void> {
  const person = personOf(document)
  if (person === null) return
  const api = createApi({
    fetch: fetch.bind(globalThis),
    csrfToken: csrfTokenOf(document),
    timeoutMs: API_TIMEOUT_MS,
  })
  const database = await openDatabase(person.name)
  const gone = await putKeysAwayIfSignedOut({ api, locks: navigator.locks, database }).finally(() => {
    database.close()
  })
  if (gone) goToLogIn(person, 'signed_out')
  else {
    connection.stop()
    connection.start()
  }
}

window.addEventListener('online', () => {
  connection.retryNow()
})
window.addEventListener('offline', () => {
  connection.wentOffline()
})
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible') connection.retryNow()
})
window.addEventListener('pagehide', () => {
  connection.stop()
})
window.addEventListener('pageshow', (event) => {
  if (event.persisted) connection.start()
})
connection.start()

const person = personOf(document)
if (person !== null) {
  watchKeys({
    ...person,
    keep: () => Promise.resolve(),
    onNewKeys: () => undefined,
  })
}
