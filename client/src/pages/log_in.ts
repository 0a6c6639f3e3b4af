/** Log in, on the site's own page and on the admin's: the password opens the door here and is never sent. */
import {
  confirmRecoveryCode,
  type Credentials,
  logIn,
  OtherIdentity,
  type SignedIn,
} from '../chat/account_session'
import {
  accountPageData,
  accountTools,
  assureGiven,
  assureOrigin,
  keepStorage,
  problemOf,
  stepText,
} from '../ui/account_page'
import { type AccountForm, byId, takeOver } from '../ui/forms'
import { runRecoveryCodeStep } from '../ui/recovery_code_step'
import { showStep } from '../ui/steps'

const data = accountPageData(document)
const formStep = byId(document, 'form-step', HTMLElement)
const identityStep = byId(document, 'identity-step', HTMLElement)
const nameInput = byId(document, 'username', HTMLInputElement)
const recoverLink = byId(document, 'recover-link', HTMLAnchorElement)
const tools = accountTools(document, data, (step) => {
  form.busy(stepText(step))
})
/** Set once the person was told what it means. */
let forget = false
const form = takeOver(byId(document, 'account-form', HTMLFormElement), submit, (error) =>
  problemOf(error, { nameField: 'username', recoverHref: recoverHref() }),
)
if (nameInput.value === '') nameInput.value = data.username ?? ''
byId(document, data.username === null ? 'username' : 'password', HTMLInputElement).focus()
recoverLink.addEventListener('click', () => {
  recoverLink.href = recoverHref()
})
byId(document, 'identity-forget', HTMLButtonElement).addEventListener('click', () => {
  forget = true
  showStep(formStep, [formStep, identityStep])
  form.element.requestSubmit()
})

/** The name goes behind `#`, where no server and no log sees it. */
function recoverHref(): string {
  const address = new URL(recoverLink.href)
  address.hash = nameInput.value.trim()
  return address.href
}

async function submit(submitted: AccountForm): Promise<'stay' | 'leave'> {
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
    if (!(error instanceof OtherIdentity)) throw error
    showStep(identityStep, [formStep, identityStep])
    return 'stay'
  }
}

function goOn(signedIn: SignedIn): 'stay' | 'leave' {
  keepStorage()
  if (signedIn.recoveryCode === null) {
    form.busy('Opening your chats…')
    location.assign(signedIn.nextAllowed ? data.next : '/')
    return 'leave'
  }
  form.element.reset()
  if (signedIn.nextAllowed) byId(document, 'recovery-done-link', HTMLAnchorElement).href = data.next
  runRecoveryCodeStep({
    page: document,
    username: signedIn.username,
    origin: data.origin,
    code: signedIn.recoveryCode,
    random: tools.random,
    otherSteps: [formStep, identityStep],
    confirm: () => confirmRecoveryCode(tools.api),
    problemOf,
  })
  return 'stay'
}
