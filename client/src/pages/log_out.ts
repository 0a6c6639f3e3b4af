/**
 * Log out: this browser leaves the person's key chain, everything of theirs is removed from it, then the server ends the session.
 *
 * Nothing of it may keep anybody signed in: what the browser will not delete, or the server will not store, is said.
 */
import { foldedName } from '../chat/account_session'
import { retireThisBrowser } from '../chat/browsers'
import { ApiUnreachable, createApi, csrfTokenOf } from '../net/api'
import { countUnsent, forgetPerson } from '../store/account_store'
import { openDatabase } from '../store/database'
import { preferenceStorage } from '../store/preferences'
import { accountPageData } from '../ui/account_page'
import { byId } from '../ui/forms'
import { tellTabs } from '../ui/tabs'

const API_TIMEOUT_MS = 10_000

const data = accountPageData(document)
const name = foldedName(data.username ?? '')
const api = createApi({
  fetch: fetch.bind(globalThis),
  csrfToken: csrfTokenOf(document),
  timeoutMs: API_TIMEOUT_MS,
})
const form = byId(document, 'log-out-form', HTMLFormElement)
const button = byId(document, 'log-out-button', HTMLButtonElement)
const everything = byId(document, 'remove-everything', HTMLInputElement)
const progress = form.querySelector<HTMLElement>('[data-progress]')
const notRetired = byId(document, 'not-retired', HTMLElement)
let running = false
/** The person was told that this browser stays on the list. */
let anyway = false

form.addEventListener('submit', (event) => {
  event.preventDefault()
  if (running) return
  running = true
  void logOut().finally(() => {
    running = false
  })
})
void warn().catch(() => undefined)

async function logOut(): Promise<void> {
  if (!anyway && !(await retired())) return
  busy('Removing your keys from this browser…')
  await forget().catch(reportError)
  tellTabs(name, 'signed_out')
  form.submit()
}

/** Whether this browser's end is on the key chain now. If not, the person is asked. */
async function retired(): Promise<boolean> {
  busy('Taking this browser off your list…')
  try {
    await retireThisBrowser({ api, origin: data.origin, name, now: Date.now })
    return true
  } catch (error) {
    if (!(error instanceof ApiUnreachable)) reportError(error)
    ask(error instanceof ApiUnreachable)
    return false
  }
}

function ask(unreachable: boolean): void {
  anyway = true
  if (progress !== null) progress.hidden = true
  byId(document, 'not-retired-text', HTMLElement).textContent = unreachable
    ? 'The server did not answer, so this browser stays on your list of browsers. You can try again later, or log out ' +
      'anyway: your keys are removed here, and you can sign this browser out from another one.'
    : 'The server did not take this browser off your list. You can log out anyway: your keys are removed here, and you ' +
      'can sign this browser out from another one.'
  notRetired.hidden = false
  notRetired.focus()
  button.textContent = 'Log out anyway'
}

function busy(text: string): void {
  notRetired.hidden = true
  if (progress === null) return
  progress.hidden = false
  const line = progress.querySelector('[data-progress-text]')
  if (line !== null) line.textContent = text
}

async function forget(): Promise<void> {
  if (everything.checked) preferenceStorage()?.clear()
  await forgetPerson(name)
}

async function warn(): Promise<void> {
  const database = await openDatabase(name)
  const unsent = await countUnsent(database).finally(() => {
    database.close()
  })
  if (unsent === 0) return
  const warning = byId(document, 'unsent', HTMLElement)
  byId(document, 'unsent-text', HTMLElement).textContent =
    unsent === 1
      ? '1 message has not been sent yet. It is deleted if you log out now.'
      : `${unsent} messages have not been sent yet. They are deleted if you log out now.`
  warning.hidden = false
}
