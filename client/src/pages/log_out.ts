/** Log out: says what would be lost, and takes this browser's keys away before the server ends the session. */
import { foldedName } from '../chat/account_session'
import { countUnsent, forgetSession } from '../store/account_store'
import { openDatabase, removeDatabase } from '../store/database'
import { preferenceStorage } from '../store/preferences'
import { byId } from '../ui/forms'
import { pageData } from '../ui/page_data'
import { text } from '../wire/json'

const name = foldedName(text(pageData(document)))
const form = byId(document, 'log-out-form', HTMLFormElement)
const everything = byId(document, 'remove-everything', HTMLInputElement)
let running = false

form.addEventListener('submit', (event) => {
  event.preventDefault()
  if (running) return
  running = true
  // What the browser will not delete must not keep anybody signed in.
  void forget()
    .catch(reportError)
    .finally(() => {
      form.submit()
    })
})
void warn().catch(() => undefined)

async function forget(): Promise<void> {
  if (everything.checked) {
    preferenceStorage()?.clear()
    return removeDatabase(name)
  }
  const database = await openDatabase(name)
  try {
    await forgetSession(database)
  } finally {
    database.close()
  }
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
