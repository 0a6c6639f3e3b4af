/** Forgot the password: the recovery code opens the account, a new password closes it again, a new code is shown. */
import { confirmRecoveryCode, OtherIdentity, recover, type Recovered } from '../chat/account_session'
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
  settleIn,
  stepText,
} from '../ui/account_page'
import { type AccountForm, byId, takeOver } from '../ui/forms'
import { runRecoveryCodeStep } from '../ui/recovery_code_step'

const data = accountPageData(document)
const rules = accountPageRules(document)
const nameInput = byId(document, 'username', HTMLInputElement)
const tools = accountTools(document, data, (step) => {
  form.busy(stepText(step))
})
const form = takeOver(byId(document, 'account-form', HTMLFormElement), submit, (error) =>
  problemOf(error, { nameField: 'username' }),
)
bindRules(document, rules, () => nameInput.value.trim())
// The log-in page hands the name over behind `#`.
if (nameInput.value === '')
  nameInput.value = decodeURIComponent(location.hash.slice(1)) || (data.username ?? '')
byId(document, nameInput.value === '' ? 'username' : 'code', HTMLInputElement).focus()

/** The person was told that this browser knows another identity, and goes on all the same. */
let forget = false

async function submit(submitted: AccountForm): Promise<'stay'> {
  assureOrigin(data.origin, location)
  const username = nameInput.value.trim()
  const password = submitted.value('password')
  assureGiven(submitted, [
    ['username', data.messages.usernameRequired],
    ['code', 'Enter your recovery code.'],
    ['password', 'Enter a new password.'],
  ])
  const code = readRecoveryCode('code', submitted.value('code'))
  const problems = ruleProblems('password', password, rules.password, username)
  if (problems.length > 0) throw new ProblemsFound(problems)

  const recovered = await recoverOrAsk({ username, password, code })
  submitted.element.reset()
  settleIn()
  runRecoveryCodeStep({
    page: document,
    username: recovered.username,
    origin: data.origin,
    code: recovered.newCode,
    random: tools.random,
    otherSteps: [byId(document, 'form-step', HTMLElement)],
    confirm: () => confirmRecoveryCode(tools.api),
    problemOf,
  })
  return 'stay'
}

async function recoverOrAsk(who: Parameters<typeof recover>[0]): Promise<Recovered> {
  try {
    return await recover(who, { forget }, tools)
  } catch (error) {
    if (!(error instanceof OtherIdentity)) throw error
    forget = true
    const general =
      `${error.message} Did you start fresh in another browser? Then press the button once more: what this browser ` +
      'has kept is removed. If you did not, stop and tell whoever runs this server.'
    throw new ProblemsFound([], general)
  }
}
