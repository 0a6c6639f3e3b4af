/** Sign up: keys are made here, the server gets what it cannot read, and the recovery code is shown. */
import { confirmRecoveryCode, prepareSignUp, type PreparedSignUp, signUp } from '../chat/account_session'
import { ApiRefused, ApiUnreachable } from '../net/api'
import {
  accountPageData,
  accountPageRules,
  accountTools,
  assureGiven,
  assureOrigin,
  bindRules,
  problemOf,
  ProblemsFound,
  ruleProblems,
  settleIn,
  stepText,
} from '../ui/account_page'
import { type AccountForm, byId, takeOver } from '../ui/forms'
import { runRecoveryCodeStep } from '../ui/recovery_code_step'

const data = accountPageData(document)
const rules = accountPageRules(document)
const tools = accountTools(document, data, (step) => {
  form.busy(stepText(step))
})
const form = takeOver(byId(document, 'account-form', HTMLFormElement), submit, problem)
bindRules(document, rules, username)

/** The field of the code, where this server asks for one. */
const invite = document.querySelector<HTMLInputElement>('#invite')

/** The last attempt, and whether its answer was lost. */
let attempt: { readonly prepared: PreparedSignUp; readonly unanswered: boolean } | null = null

function username(): string {
  return byId(document, 'username', HTMLInputElement).value.trim()
}

function problem(error: unknown) {
  if (invite !== null && error instanceof ApiRefused && error.code === 'invite_refused')
    return { fields: [{ field: 'invite', message: error.message }] }
  return problemOf(error, { nameField: 'username' })
}

async function submit(submitted: AccountForm): Promise<'stay'> {
  assureOrigin(data.origin, location)
  const who = { username: username(), password: submitted.value('password') }
  assureGiven(submitted, [
    ['username', data.messages.usernameRequired],
    ['password', data.messages.passwordRequired],
    ...(invite === null ? [] : [['invite', 'Enter the invite code.'] as const]),
  ])
  const problems = [
    ...ruleProblems('username', who.username, rules.username, who.username),
    ...ruleProblems('password', who.password, rules.password, who.username),
  ]
  if (problems.length > 0) throw new ProblemsFound(problems)

  const again = attempt?.prepared.username === who.username && attempt.prepared.password === who.password
  const earlier = again ? attempt : null
  const prepared = earlier?.prepared ?? (await prepareSignUp(who, tools))
  attempt = { prepared, unanswered: earlier?.unanswered ?? false }
  try {
    await signUp(prepared, { retry: attempt.unanswered, invite: invite?.value.trim() ?? null }, tools)
  } catch (error) {
    if (error instanceof ApiUnreachable) attempt = { prepared, unanswered: true }
    throw error
  }
  attempt = null
  submitted.element.reset()
  if (data.next !== '/')
    byId(document, 'recovery-done-link', HTMLAnchorElement).href = data.next + location.hash
  settleIn()
  showCode(prepared)
  return 'stay'
}

function showCode(prepared: PreparedSignUp): void {
  runRecoveryCodeStep({
    page: document,
    username: prepared.username,
    origin: data.origin,
    code: prepared.recoveryCode,
    random: tools.random,
    otherSteps: [byId(document, 'form-step', HTMLElement)],
    confirm: () => confirmRecoveryCode(tools.api),
    problemOf,
  })
}
