/** Log in, on the site's own page and on the admin's: the password opens the door here and is never sent. */
import {
  confirmRecoveryCode,
  type Credentials,
  foldedName,
  logIn,
  OtherIdentity,
  type SignedIn,
  startFresh,
} from '../chat/account_session'
import { DoorClosed } from '../crypto/errors'
import {
  accountPageData,
  accountTools,
  assureGiven,
  assureOrigin,
  problemOf,
  ProblemsFound,
  settleIn,
  stepText,
} from '../ui/account_page'
import { type AccountForm, byId, takeOver } from '../ui/forms'
import { runRecoveryCodeStep } from '../ui/recovery_code_step'
import { showStep } from '../ui/steps'
import { listenToTabs, tellTabs } from '../ui/tabs'
import type { Bytes } from '../wire/bytes'

const data = accountPageData(document)
const formStep = byId(document, 'form-step', HTMLElement)
const identityStep = byId(document, 'identity-step', HTMLElement)
const lostStep = byId(document, 'lost-step', HTMLElement)
const freshStep = byId(document, 'fresh-step', HTMLElement)
const steps = [formStep, identityStep, lostStep, freshStep]
const nameInput = byId(document, 'username', HTMLInputElement)
const recoverLink = byId(document, 'recover-link', HTMLAnchorElement)
const tools = accountTools(document, data, (step) => {
  working?.busy(stepText(step))
})
/** The form that is being worked on; one at a time. */
let working: AccountForm | null = null
/** Set once the person was told what it means. */
let forget = false
const form = takeOver(byId(document, 'account-form', HTMLFormElement), submit, (error) =>
  problemOf(error, { nameField: 'username' }),
)
takeOver(byId(document, 'fresh-form', HTMLFormElement), submitFresh, (error) => problemOf(error))
if (nameInput.value === '') nameInput.value = data.username ?? ''
byId(document, data.username === null ? 'username' : 'password', HTMLInputElement).focus()
recoverLink.addEventListener('click', () => {
  recoverLink.href = recoverHref()
})
byId(document, 'identity-forget', HTMLButtonElement).addEventListener('click', () => {
  forget = true
  showStep(formStep, steps)
  form.element.requestSubmit()
})
byId(document, 'lost-fresh', HTMLButtonElement).addEventListener('click', () => {
  showStep(freshStep, steps)
})
byId(document, 'fresh-back', HTMLButtonElement).addEventListener('click', () => {
  showStep(lostStep, steps)
})
// What stands behind `#` in a friend's link is for the page after the log-in or the sign-up.
const signUpLink = document.querySelector<HTMLAnchorElement>('#sign-up-link')
if (signUpLink !== null) signUpLink.hash = location.hash
// Another tab was faster with the password.
if (data.username !== null) {
  listenToTabs(foldedName(data.username), (news) => {
    if (news === 'new_keys') location.assign(data.next + location.hash)
  })
}

/** The name goes behind `#`, where no server and no log sees it. */
function recoverHref(): string {
  const address = new URL(recoverLink.href)
  address.hash = nameInput.value.trim()
  return address.href
}

async function submit(submitted: AccountForm): Promise<'stay' | 'leave'> {
  working = submitted
  assureOrigin(data.origin, location)
  const who: Credentials = {
    username: submitted.value('username').trim(),
    password: submitted.value('password'),
  }
  assureGiven(submitted, [
    ['username', data.messages.usernameRequired],
    ['password', data.messages.passwordRequired],
  ])
  try {
    return goOn(await logIn(who, { next: data.next, forget }, tools))
  } catch (error) {
    if (error instanceof DoorClosed) {
      byId(document, 'lost-recover', HTMLAnchorElement).href = recoverHref()
      showStep(lostStep, steps)
    } else if (error instanceof OtherIdentity) showStep(identityStep, steps)
    else throw error
    return 'stay'
  }
}

async function submitFresh(submitted: AccountForm): Promise<'stay'> {
  working = submitted
  const username = nameInput.value.trim()
  if (foldedName(submitted.value('fresh-name').trim()) !== foldedName(username))
    throw new ProblemsFound([{ field: 'fresh-name', message: `Type ${username} to start fresh.` }])
  const fresh = await startFresh({ username, password: form.value('password') }, tools)
  submitted.element.reset()
  settleIn()
  finish({ ...fresh, nextAllowed: false }, fresh.recoveryCode)
  return 'stay'
}

function goOn(signedIn: SignedIn): 'stay' | 'leave' {
  settleIn()
  if (signedIn.recoveryCode === null) {
    form.busy('Opening your chats…')
    tellTabs(foldedName(signedIn.username), 'new_keys')
    location.assign(signedIn.nextAllowed ? data.next + location.hash : '/')
    return 'leave'
  }
  finish(signedIn, signedIn.recoveryCode)
  return 'stay'
}

/** Keys were made just now: their recovery code has to be kept before anything else. */
function finish(signedIn: Pick<SignedIn, 'username' | 'nextAllowed'>, code: Bytes): void {
  form.element.reset()
  tellTabs(foldedName(signedIn.username), 'new_keys')
  if (signedIn.nextAllowed) byId(document, 'recovery-done-link', HTMLAnchorElement).href = data.next
  runRecoveryCodeStep({
    page: document,
    username: signedIn.username,
    origin: data.origin,
    code,
    random: tools.random,
    otherSteps: steps,
    confirm: () => confirmRecoveryCode(tools.api),
    problemOf,
  })
}
