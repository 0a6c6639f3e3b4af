/** What the account pages have in common: their data, their tools, their sentences. */
import type { AccountTools, Step } from '../chat/account_session'
import { OtherIdentity, RecoveryUncertain } from '../chat/account_session'
import { brokenRules, decodeRules, type Rule } from '../chat/password_rules'
import { SESSION_LOCK } from '../chat/signed_out'
import { CryptoRefusal, DoorClosed, RecoveryCodeMalformed, StretchFailed } from '../crypto/errors'
import { parseRecoveryCode } from '../crypto/recovery_code'
import { stretch } from '../crypto/stretch'
import { ApiRefused, ApiUnreachable, createApi, csrfTokenOf } from '../net/api'
import { StorageRefused } from '../store/database'
import { keepLastSeen, preferenceStorage } from '../store/preferences'
import { type Bytes, MalformedData, systemRandom } from '../wire/bytes'
import { type Decoder, looseObject, orNull, text } from '../wire/json'
import { type AccountForm, bindChecklist, byId, type FieldProblem, type FormProblem } from './forms'
import { pageData } from './page_data'
import { startArgon2Worker, WorkerAltered } from './start_worker'

export interface AccountPageData {
  readonly origin: string
  /** Where to go afterwards, a path of this site. */
  readonly next: string
  /** Of the person who is signed in, or null. */
  readonly username: string | null
  /** Address of the Argon2 worker. */
  readonly workerUrl: string
  readonly messages: { readonly usernameRequired: string; readonly passwordRequired: string }
}

export interface PageRules {
  readonly username: readonly Rule[]
  readonly password: readonly Rule[]
}

const decodePageData: Decoder<AccountPageData> = looseObject<AccountPageData>({
  origin: text,
  next: text,
  username: orNull(text),
  workerUrl: text,
  messages: looseObject({ usernameRequired: text, passwordRequired: text }),
})
const decodePageRules: Decoder<{ readonly rules: PageRules }> = looseObject({
  rules: looseObject<PageRules>({ username: decodeRules, password: decodeRules }),
})

const REQUEST_TIMEOUT_MS = 20_000

export function accountPageData(page: Document): AccountPageData {
  return decodePageData(pageData(page))
}

export function accountPageRules(page: Document): PageRules {
  return decodePageRules(pageData(page)).rules
}

/** The page was opened under another name of the server: keys made here would be another person's. */
export class OtherOrigin extends Error {
  override readonly name = 'OtherOrigin'
}

/** Throws `OtherOrigin` when the address bar does not say what the server calls itself. */
export function assureOrigin(origin: string, location: Location): void {
  if (location.origin !== origin) throw new OtherOrigin(origin)
}

/** Tabs whose socket belonged to the former session wait for the answer before they take themselves for signed out. */
const changingSession: typeof fetch = (input, init) =>
  navigator.locks.request(SESSION_LOCK, { mode: 'shared' }, () => fetch(input, init))

export function accountTools(
  page: Document,
  data: AccountPageData,
  onStep: (step: Step) => void,
): AccountTools {
  let worker: Promise<Worker> | null = null
  return {
    api: createApi({
      fetch: changingSession,
      csrfToken: csrfTokenOf(page),
      timeoutMs: REQUEST_TIMEOUT_MS,
    }),
    origin: data.origin,
    stretch: async (input) => {
      worker ??= startArgon2Worker(data.workerUrl).catch((error: unknown) => {
        worker = null
        throw error
      })
      return stretch(await worker, input)
    },
    random: systemRandom,
    now: Date.now,
    onStep,
  }
}

/**
 * Once the browser has the keys: somebody is here, so it does not lock at once, and it is asked not to clear the keys by
 * itself. It may say no; the vault brings them back.
 */
export function settleIn(): void {
  keepLastSeen(preferenceStorage(), Date.now())
  void navigator.storage.persist().catch(() => false)
}

export function stepText(step: Step): string {
  switch (step) {
    case 'asking':
      return 'Asking the server…'
    case 'stretching':
      return 'Stretching your password…'
    case 'making_keys':
      return 'Making your keys…'
    case 'opening':
      return 'Opening your keys…'
    case 'sending':
      return 'Sending…'
  }
}

/** Shows the rules beside the new password and, where the page asks for a name, beside the name. */
export function bindRules(page: Document, rules: PageRules, username: () => string): void {
  const name = page.getElementById('username')
  const names = page.getElementById('username-rules')
  const password = byId(page, 'password', HTMLInputElement)
  const nameInput = name instanceof HTMLInputElement ? name : null
  if (nameInput !== null && names !== null) {
    bindChecklist({ list: names, input: nameInput, rules: rules.username, username })
  }
  bindChecklist({
    list: byId(page, 'password-rules', HTMLElement),
    input: password,
    rules: rules.password,
    username,
    ...(nameInput === null ? {} : { follow: nameInput }),
  })
}

/** What the form itself can see is wrong. `ProblemsFound` carries it to the form's summary. */
export class ProblemsFound extends Error {
  override readonly name = 'ProblemsFound'

  constructor(
    readonly fields: readonly FieldProblem[],
    readonly general: string | null = null,
  ) {
    super('Some fields need a look.')
  }
}

/** Throws `ProblemsFound` when one of the fields is empty: `[id, sentence]`. */
export function assureGiven(form: AccountForm, fields: readonly (readonly [string, string])[]): void {
  const missing = fields.filter(([field]) => form.value(field).trim() === '')
  if (missing.length > 0) throw new ProblemsFound(missing.map(([field, message]) => ({ field, message })))
}

export function ruleProblems(
  field: string,
  value: string,
  rules: readonly Rule[],
  username: string,
): readonly FieldProblem[] {
  return brokenRules(rules, value, username).map((rule) => ({ field, message: rule.text, listed: true }))
}

export interface ProblemContext {
  /** Id of the input that holds a name, if the form has one. */
  readonly nameField?: string
  /** Id of the input that asks somebody who is signed in for the password once more. */
  readonly passwordField?: string
  readonly recoverHref?: string
}

/** One sentence for everything that can happen to an account form. A bug is told apart and travels to the console. */
export function problemOf(error: unknown, context: ProblemContext = {}): FormProblem {
  if (error instanceof ProblemsFound) {
    const { fields, general } = error
    return general === null ? { fields } : { fields, general }
  }
  if (error instanceof ApiRefused) return refusalProblem(error, context)
  if (error instanceof DoorClosed && context.passwordField !== undefined)
    return wrongPassword(context.passwordField)
  return { fields: [], ...sentenceFor(error, context) }
}

/** The same for a place that holds one sentence and no fields. */
export function sentenceOf(error: unknown): string {
  const { fields, general } = problemOf(error)
  return general ?? fields[0]?.message ?? ''
}

function refusalProblem(error: ApiRefused, context: ProblemContext): FormProblem {
  const { nameField, passwordField } = context
  if (error.code === 'wrong_credentials' && passwordField !== undefined) return wrongPassword(passwordField)
  const names = nameField === undefined ? [] : (error.fields['username'] ?? [])
  const fields = names.map((message) => ({ field: nameField ?? '', message }))
  if (error.retryAfter !== null)
    return { fields, general: error.message, retryAfterSeconds: error.retryAfter }
  return fields.length > 0 ? { fields } : { fields, general: error.message }
}

function wrongPassword(field: string): FormProblem {
  return { fields: [{ field, message: 'That is not your current password.' }] }
}

function sentenceFor(
  error: unknown,
  context: ProblemContext,
): Pick<FormProblem, 'link'> & { general: string } {
  if (error instanceof ApiUnreachable) return { general: error.message }
  if (error instanceof OtherOrigin) {
    const general = `This page was opened under another address than ${error.message}, where your keys belong.`
    return { general, link: { href: error.message, text: `Open ${error.message}` } }
  }
  if (error instanceof StorageRefused) {
    return {
      general:
        'This browser keeps no data for this site, so it cannot hold your keys. ' +
        'Leave private browsing or allow storage for this site, then try again. Nothing was changed.',
    }
  }
  if (error instanceof DoorClosed) return doorSentence(context)
  if (error instanceof RecoveryUncertain) {
    return {
      general:
        'The connection broke while your new password was being stored. Try to log in with the new password. ' +
        'If that works, make a new recovery code in Settings; if not, come back and use your code again.',
    }
  }
  if (error instanceof OtherIdentity) {
    return {
      general:
        `${error.message} If you started fresh in another browser, log out here and log in again. ` +
        'If you did not, stop and tell whoever runs this server: somebody may be trying to read your messages.',
    }
  }
  if (error instanceof StretchFailed) {
    return {
      general: 'This browser could not stretch the password. It needs 64 MB of free memory and WebAssembly.',
    }
  }
  if (error instanceof WorkerAltered) {
    return {
      general:
        'The part of this program that stretches passwords was changed on its way. Nothing was sent; tell whoever runs this server.',
    }
  }
  if (error instanceof CryptoRefusal || error instanceof MalformedData) {
    return {
      general:
        'The keys that the server sent do not fit together. Nothing was opened; tell whoever runs this server.',
    }
  }
  reportError(error)
  return { general: 'Something went wrong in this page. Reload it and try again.' }
}

function doorSentence(context: ProblemContext): Pick<FormProblem, 'link'> & { general: string } {
  const general =
    'Your password is right, but it does not open your keys: it was changed on the server, where your keys are not. ' +
    'Your recovery code brings them back.'
  if (context.recoverHref === undefined) return { general }
  return { general, link: { href: context.recoverHref, text: 'Use the recovery code' } }
}

/** Reads a typed recovery code; throws `ProblemsFound` beside `field` when it cannot be one. */
export function readRecoveryCode(field: string, typed: string): Bytes {
  try {
    return parseRecoveryCode(typed)
  } catch (error) {
    if (!(error instanceof RecoveryCodeMalformed)) throw error
    const message =
      'A recovery code is 8 groups of 4 letters and numbers. Check for a missing or wrong character.'
    throw new ProblemsFound([{ field, message }])
  }
}
