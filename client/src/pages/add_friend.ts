/** Add a friend, also by a link: what stands behind its `#` is kept, encrypted, before the request is sent. And one's own link. */
import { foldedName } from '../chat/account_session'
import { expectFriend } from '../chat/expected_friends'
import { CryptoRefusal } from '../crypto/errors'
import { parseFingerprint } from '../crypto/fingerprint'
import { createApi, csrfTokenOf } from '../net/api'
import { loadAccount } from '../store/account_store'
import { type AccountRecord, openDatabase } from '../store/database'
import { accountPageData, sentenceOf } from '../ui/account_page'
import { byId } from '../ui/forms'
import { showMyLink } from '../ui/my_link'
import { type Bytes, systemRandom } from '../wire/bytes'

const API_TIMEOUT_MS = 20_000

const data = accountPageData(document)
const form = byId(document, 'add-form', HTMLFormElement)
const nameInput = byId(document, 'username', HTMLInputElement)
const note = byId(document, 'link-note', HTMLElement)
const problem = byId(document, 'link-problem', HTMLElement)
/** The name that the link gave; only for it does the fingerprint hold. */
const linkedName = nameInput.dataset['linked'] ?? null
let sending = false

const account = await accountOfBrowser().catch(() => undefined)
if (account !== undefined) await showMyLink(document, account)
if (linkedName !== null && location.hash !== '')
  bindLink(linkedName, parseFingerprint(location.hash.slice(1)))

function bindLink(friend: string, fingerprint: Bytes | null): void {
  if (fingerprint === null) {
    tell(
      'This link is damaged: the part after # is not a fingerprint. Ask for it again. ' +
        'You can send the request all the same; then compare safety numbers later.',
    )
    return
  }
  note.textContent = `This link says who ${friend} is. Once you are friends, the safety number counts as compared.`
  note.hidden = false
  form.addEventListener('submit', (event) => {
    if (foldedName(nameInput.value.trim()) !== foldedName(friend)) return
    event.preventDefault()
    if (sending) return
    sending = true
    void expect(friend, fingerprint).finally(() => {
      sending = false
    })
  })
}

async function expect(friend: string, fingerprint: Bytes): Promise<void> {
  if (account === undefined) {
    tell('This browser has no keys for you, so it cannot keep what the link says.', true)
    return
  }
  try {
    const api = createApi({
      fetch: fetch.bind(globalThis),
      csrfToken: csrfTokenOf(document),
      timeoutMs: API_TIMEOUT_MS,
    })
    const tools = { api, random: systemRandom, keys: account.browser }
    await expectFriend({ name: foldedName(friend), fingerprint }, tools)
    form.submit()
  } catch (error) {
    if (error instanceof CryptoRefusal) tell('This browser cannot open your keys any more.', true)
    else tell(sentenceOf(error))
  }
}

function tell(text: string, logInAgain = false): void {
  problem.textContent = text
  if (logInAgain) {
    const link = document.createElement('a')
    const next = location.pathname
    link.href = `/log-in/?${new URLSearchParams({ again: 'keys', next }).toString()}${location.hash}`
    link.textContent = 'Log in again'
    problem.append(' ', link)
  }
  problem.hidden = false
  problem.focus()
}

async function accountOfBrowser(): Promise<AccountRecord | undefined> {
  const database = await openDatabase(foldedName(data.username ?? ''))
  try {
    return await loadAccount(database)
  } finally {
    database.close()
  }
}
