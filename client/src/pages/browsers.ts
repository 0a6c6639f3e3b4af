/** The browsers page: which browsers are this person's by their own key chain, and signing them out. */
import { foldedName } from '../chat/account_session'
import {
  type Browsers,
  endSession,
  type KnownBrowser,
  listBrowsers,
  NoKeysHere,
  renew,
} from '../chat/browsers'
import { loadAccount } from '../store/account_store'
import { type AccountRecord, openDatabase } from '../store/database'
import {
  accountPageData,
  accountTools,
  assureGiven,
  assureOrigin,
  problemOf,
  sentenceOf,
  stepText,
} from '../ui/account_page'
import { showBrowsers } from '../ui/browser_list'
import { type AccountForm, byId, type FormProblem, takeOver } from '../ui/forms'
import { tellTabs } from '../ui/tabs'

const data = accountPageData(document)
const username = data.username ?? ''
const name = foldedName(username)
const tools = accountTools(document, data, (step) => {
  form.busy(stepText(step))
})
const place = byId(document, 'browsers', HTMLElement)
const problem = byId(document, 'page-problem', HTMLElement)
const result = byId(document, 'page-result', HTMLElement)
const everywhere = byId(document, 'everywhere', HTMLButtonElement)
const dialog = byId(document, 'revoke-dialog', HTMLDialogElement)
const title = byId(document, 'revoke-title', HTMLElement)
const submitButton = byId(document, 'revoke-submit', HTMLButtonElement)

/** What the dialog is about: one browser, or every one but this. */
let asked: KnownBrowser | 'others' = 'others'

const form = takeOver(byId(document, 'revoke-form', HTMLFormElement), revoke, revokeProblem)
byId(document, 'revoke-cancel', HTMLButtonElement).addEventListener('click', () => {
  dialog.close()
})
dialog.addEventListener('cancel', (event) => {
  if (form.element.getAttribute('aria-busy') === 'true') event.preventDefault()
})
dialog.addEventListener('close', () => {
  form.element.reset()
  form.clearProblem()
})
everywhere.addEventListener('click', () => {
  ask({
    what: 'others',
    heading: 'Sign out everywhere else?',
    which: 'All your browsers but this one.',
    effect:
      'They are signed out within seconds, and your keys are renewed. Each of them needs your password to come back.',
    button: 'Sign them all out',
  })
})
void show()

async function show(): Promise<void> {
  place.setAttribute('aria-busy', 'true')
  try {
    const account = await accountOfBrowser()
    const browsers = await listBrowsers({ api: tools.api, origin: data.origin, name, account })
    showBrowsers(place, browsers, {
      canRevoke: account !== undefined,
      revoke: (browser, label) => {
        ask({
          what: browser,
          heading: 'Sign this browser out?',
          which: label,
          effect:
            'It is signed out within seconds, and your keys are renewed. Your other browsers will ask for your password once.',
          button: 'Sign it out',
        })
      },
      end: (session, label) => void end(session, label),
    })
    everywhere.disabled = account === undefined || isAlone(browsers)
    if (account === undefined)
      tellProblem('This browser has no keys for you, so it can sign out nobody. Log in again.')
  } catch (error) {
    place.replaceChildren()
    tellProblem(sentenceOf(error))
  } finally {
    place.removeAttribute('aria-busy')
  }
}

function isAlone({ standing }: Browsers): boolean {
  return standing.every((browser) => browser.isThis && browser.sessions.every(({ isThis }) => isThis))
}

interface Question {
  readonly what: KnownBrowser | 'others'
  readonly heading: string
  readonly which: string
  readonly effect: string
  readonly button: string
}

function ask(question: Question): void {
  asked = question.what
  title.textContent = question.heading
  byId(document, 'revoke-which', HTMLElement).textContent = question.which
  byId(document, 'revoke-effect', HTMLElement).textContent = question.effect
  submitButton.textContent = question.button
  for (const line of [problem, result]) line.hidden = true
  dialog.showModal()
  byId(document, 'revoke-password', HTMLInputElement).focus()
}

async function revoke(submitted: AccountForm): Promise<'stay'> {
  assureOrigin(data.origin, location)
  const password = submitted.value('revoke-password')
  assureGiven(submitted, [['revoke-password', data.messages.passwordRequired]])
  const what = asked
  const ids = what === 'others' ? 'others' : what.device === null ? [] : [what.device.id]
  await renew({ username, password, newPassword: null, revoke: ids }, tools)
  tellTabs(name, 'new_keys')
  dialog.close()
  await show()
  tellResult(
    what === 'others'
      ? 'Every other browser is signed out, and your keys are renewed.'
      : 'That browser is signed out, and your keys are renewed.',
  )
  return 'stay'
}

async function end(session: string, label: string): Promise<void> {
  for (const line of [problem, result]) line.hidden = true
  try {
    await endSession(tools.api, session)
    await show()
    tellResult(`Signed out: ${label}.`)
  } catch (error) {
    tellProblem(sentenceOf(error))
  }
}

function revokeProblem(error: unknown): FormProblem {
  if (error instanceof NoKeysHere)
    return { fields: [], general: 'This browser has no keys for you any more. Log in again first.' }
  return problemOf(error, { passwordField: 'revoke-password' })
}

function tellProblem(text: string): void {
  const line = document.createElement('p')
  line.textContent = text
  problem.replaceChildren(line)
  problem.hidden = false
}

function tellResult(text: string): void {
  result.textContent = text
  result.hidden = false
  result.focus()
}

async function accountOfBrowser(): Promise<AccountRecord | undefined> {
  const database = await openDatabase(name)
  try {
    return await loadAccount(database)
  } finally {
    database.close()
  }
}
