/** Settings: the password, the recovery code, how this browser looks, and which keys it holds. */
import {
  changePassword,
  checkRecoveryCode,
  confirmRecoveryCode,
  foldedName,
  replaceRecoveryCode,
} from '../chat/account_session'
import { NoKeysHere, renew } from '../chat/browsers'
import { DoorClosed } from '../crypto/errors'
import { loadAccount } from '../store/account_store'
import { type AccountRecord, openDatabase } from '../store/database'
import {
  enterSends,
  keepEnterSends,
  keepLockAfter,
  keepTheme,
  LOCK_CHOICES,
  lockAfter,
  preferenceStorage,
  type Theme,
  themeOf,
} from '../store/preferences'
import {
  accountPageData,
  accountPageRules,
  accountTools,
  assureGiven,
  assureOrigin,
  bindRules,
  problemOf,
  ProblemsFound,
  readRecoveryCode,
  ruleProblems,
  stepText,
} from '../ui/account_page'
import { type AccountForm, byId, takeOver } from '../ui/forms'
import { numberOf } from '../ui/browser_list'
import { showMyLink } from '../ui/my_link'
import { runRecoveryCodeStep } from '../ui/recovery_code_step'
import { hasUnsent, lockNow, personOf } from '../ui/signed_in_page'
import { tellTabs } from '../ui/tabs'

const data = accountPageData(document)
const rules = accountPageRules(document)
const username = data.username ?? ''
const tools = accountTools(document, data, (step) => {
  working?.busy(stepText(step))
})
/** The form that is being worked on; one at a time, as each takes a second of the processor. */
let working: AccountForm | null = null

bindRules(document, rules, () => username)
takeOver(byId(document, 'password-form', HTMLFormElement), submitPassword, (error) =>
  error instanceof NoKeysHere
    ? {
        fields: [],
        general: 'This browser has no keys for you, so it cannot renew them. Log in again first.',
      }
    : problemOf(error, { passwordField: 'current-password' }),
)
takeOver(byId(document, 'code-form', HTMLFormElement), submitNewCode, (error) =>
  problemOf(error, { passwordField: 'code-password' }),
)
takeOver(byId(document, 'check-form', HTMLFormElement), submitCheck, (error) =>
  error instanceof DoorClosed
    ? { fields: [{ field: 'check-code', message: 'That is not the recovery code of this account.' }] }
    : problemOf(error),
)
bindAppearance()
bindLock()
void showKeys()

async function submitPassword(form: AccountForm): Promise<'stay'> {
  working = form
  assureOrigin(data.origin, location)
  const [password, newPassword] = [form.value('current-password'), form.value('password')]
  assureGiven(form, [
    ['current-password', 'Enter your current password.'],
    ['password', 'Enter a new password.'],
  ])
  const problems = ruleProblems('password', newPassword, rules.password, username)
  if (problems.length > 0) throw new ProblemsFound(problems)

  const isKnown = byId(document, 'password-known', HTMLInputElement).checked
  if (isKnown) {
    await renew({ username, password, newPassword, revoke: 'others' }, tools)
  } else await changePassword({ username, password, newPassword }, tools)
  // Other tabs begin again, with the new keys and the new session.
  tellTabs(foldedName(username), 'new_keys')
  form.element.reset()
  byId(document, 'password', HTMLInputElement).dispatchEvent(new Event('input'))
  form.showSuccess(
    isKnown
      ? 'Your password is changed and your keys are renewed. Every other browser was signed out.'
      : 'Your password is changed. Other browsers were signed out.',
  )
  return 'stay'
}

async function submitNewCode(form: AccountForm): Promise<'stay'> {
  working = form
  assureOrigin(data.origin, location)
  const password = form.value('code-password')
  assureGiven(form, [['code-password', 'Enter your password.']])
  const code = await replaceRecoveryCode({ username, password }, tools)
  form.element.reset()
  runRecoveryCodeStep({
    page: document,
    username,
    origin: data.origin,
    code,
    random: tools.random,
    otherSteps: [byId(document, 'settings-step', HTMLElement)],
    confirm: () => confirmRecoveryCode(tools.api),
    problemOf,
  })
  return 'stay'
}

async function submitCheck(form: AccountForm): Promise<'stay'> {
  assureGiven(form, [['check-code', 'Enter your recovery code.']])
  const code = readRecoveryCode('check-code', form.value('check-code'))
  const account = await accountOfBrowser()
  if (account === undefined) {
    const message = 'This browser has no keys to check it with. Log in again first.'
    throw new ProblemsFound([{ field: 'check-code', message }])
  }
  form.busy('Checking the code…')
  await checkRecoveryCode(account.browser, code, tools.api)
  form.element.reset()
  for (const reminder of document.querySelectorAll<HTMLElement>('[data-recovery-reminder]'))
    reminder.hidden = true
  form.showSuccess('That is your recovery code. Keep it safe.')
  return 'stay'
}

async function accountOfBrowser(): Promise<AccountRecord | undefined> {
  const database = await openDatabase(foldedName(username))
  try {
    return await loadAccount(database)
  } finally {
    database.close()
  }
}

async function showKeys(): Promise<void> {
  const account = await accountOfBrowser().catch(() => undefined)
  byId(document, 'browser-keys-none', HTMLElement).hidden = account !== undefined
  byId(document, 'browser-keys', HTMLElement).hidden = account === undefined
  if (account === undefined) return
  byId(document, 'device-id', HTMLElement).textContent = numberOf(account.browser.device)
  await showMyLink(document, account)
  byId(document, 'lock-now', HTMLButtonElement).hidden = false
}

function bindLock(): void {
  const storage = preferenceStorage()
  const choice = byId(document, 'lock-after', HTMLSelectElement)
  const status = byId(document, 'lock-status', HTMLElement)
  choice.value = String(lockAfter(storage))
  choice.addEventListener('change', () => {
    const minutes = LOCK_CHOICES.find((one) => String(one) === choice.value) ?? 0
    status.textContent = keepLockAfter(storage, minutes)
      ? 'Kept in this browser.'
      : 'This browser does not keep settings, so it does not lock by itself.'
  })
  byId(document, 'lock-now', HTMLButtonElement).addEventListener('click', () => {
    lock(status).catch((error: unknown) => {
      status.textContent = 'This browser did not put your keys away. Log out instead.'
      reportError(error)
    })
  })
}

async function lock(status: HTMLElement): Promise<void> {
  const person = personOf(document)
  if (person === null) return
  if (await hasUnsent(person.name)) {
    status.textContent = 'Messages wait to be sent. Open your chats and let them go first, then lock.'
    return
  }
  await lockNow({ ...person, keep: () => Promise.resolve() })
}

function bindAppearance(): void {
  const storage = preferenceStorage()
  const status = byId(document, 'appearance-status', HTMLElement)
  const say = (kept: boolean): void => {
    status.textContent = kept
      ? 'Kept in this browser.'
      : 'This browser does not keep settings; it is for this page only.'
  }
  const choices = document.querySelectorAll<HTMLInputElement>('input[name="theme"]')
  // The footer of every page has the choice too; both show the same.
  const footer = document.querySelector<HTMLSelectElement>('#theme-choice')
  const show = (): void => {
    for (const choice of choices) choice.checked = choice.value === themeOf(storage)
  }
  for (const choice of choices) {
    const theme = choice.value as Theme
    choice.addEventListener('change', () => {
      if (theme === 'auto') delete document.documentElement.dataset['theme']
      else document.documentElement.dataset['theme'] = theme
      if (footer !== null) footer.value = theme === 'auto' ? '' : theme
      say(keepTheme(storage, theme))
    })
  }
  footer?.addEventListener('change', show)
  show()
  const enter = byId(document, 'enter-sends', HTMLInputElement)
  enter.checked = enterSends(storage)
  enter.addEventListener('change', () => {
    say(keepEnterSends(storage, enter.checked))
  })
}
