/**
 * Forms of the account pages: errors beside their fields and in a summary, live rules, show and hide, and work in progress.
 *
 * The templates carry the structure (`data-…` and ids); this only fills it.
 */
import { brokenRules, type Rule } from '../chat/password_rules'

export interface FieldProblem {
  /** Id of the input. */
  readonly field: string
  readonly message: string
  /** The field's own list of rules shows it already, so that beside the field one sentence is enough. */
  readonly listed?: boolean
}

/** What a form says when it did not work: problems of fields, or one sentence about the whole. */
export interface FormProblem {
  readonly fields: readonly FieldProblem[]
  readonly general?: string
  /** The server asks to wait this long. */
  readonly retryAfterSeconds?: number
  readonly link?: { readonly href: string; readonly text: string }
}

export interface AccountForm {
  readonly element: HTMLFormElement
  value(field: string): string
  showProblem(problem: FormProblem): void
  clearProblem(): void
  /** Says that it worked, where the form stays on show. */
  showSuccess(text: string): void
  /** Says what is being done and ignores further submits until `idle`. */
  busy(text: string): void
  idle(): void
}

export function byId<T extends HTMLElement>(page: Document, id: string, type: new () => T): T {
  const element = page.getElementById(id)
  if (!(element instanceof type)) throw new Error(`The page has no #${id}.`)
  return element
}

/**
 * Takes a form over: `submit` runs once at a time, and its problems are shown by `problemOf`. After `leave` the form
 * stays busy, because another page is on its way.
 *
 * The template's submit button is disabled until now, so that no browser sends the form by itself.
 */
export function takeOver(
  form: HTMLFormElement,
  submit: (form: AccountForm) => Promise<'stay' | 'leave'>,
  problemOf: (error: unknown) => FormProblem,
): AccountForm {
  const account = accountForm(form)
  let running = false
  const run = async (): Promise<void> => {
    if (running) return
    running = true
    account.clearProblem()
    let left = false
    try {
      left = (await submit(account)) === 'leave'
      if (!left) account.idle()
    } catch (error) {
      account.idle()
      account.showProblem(problemOf(error))
    } finally {
      running = left
    }
  }
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    void run()
  })
  bindPasswordToggles(form)
  account.idle()
  return account
}

function accountForm(form: HTMLFormElement): AccountForm {
  const page = form.ownerDocument
  const summary = form.querySelector<HTMLElement>('[data-error-summary]')
  const success = form.querySelector<HTMLElement>('[data-success]')
  const progress = form.querySelector<HTMLElement>('[data-progress]')
  const submitButtons = form.querySelectorAll<HTMLButtonElement>('button[type="submit"]')
  const input = (field: string): HTMLInputElement => byId(page, field, HTMLInputElement)
  return {
    element: form,
    value: (field) => input(field).value,
    showProblem(problem) {
      for (const found of problem.fields) markInvalid(page, input(found.field), found)
      if (summary !== null) fillSummary(summary, problem)
    },
    clearProblem() {
      for (const invalid of form.querySelectorAll('input[aria-invalid]'))
        invalid.removeAttribute('aria-invalid')
      for (const message of form.querySelectorAll<HTMLElement>('[data-error-of]')) {
        message.textContent = ''
        message.hidden = true
      }
      for (const line of [summary, success]) if (line !== null) line.hidden = true
    },
    showSuccess(text) {
      if (success === null) return
      success.textContent = text
      success.hidden = false
      success.focus()
    },
    busy(text) {
      form.setAttribute('aria-busy', 'true')
      for (const button of submitButtons) button.setAttribute('aria-disabled', 'true')
      if (progress === null) return
      progress.hidden = false
      const line = progress.querySelector('[data-progress-text]') ?? progress
      line.textContent = text
    },
    idle() {
      form.removeAttribute('aria-busy')
      for (const button of submitButtons) {
        button.disabled = false
        button.removeAttribute('aria-disabled')
      }
      if (progress !== null) progress.hidden = true
    },
  }
}

function markInvalid(page: Document, input: HTMLInputElement, problem: FieldProblem): void {
  input.setAttribute('aria-invalid', 'true')
  const place = page.querySelector<HTMLElement>(`[data-error-of="${input.id}"]`)
  if (place === null) return
  place.textContent = problem.listed === true ? 'Not all of the rules are kept:' : problem.message
  place.hidden = false
}

function fillSummary(summary: HTMLElement, problem: FormProblem): void {
  const page = summary.ownerDocument
  const title = page.createElement('h2')
  title.textContent = problem.general === undefined ? 'Check what is marked below' : 'That did not work'
  const parts: HTMLElement[] = [title]
  if (problem.general !== undefined) parts.push(sentence(page, problem.general))
  if (problem.fields.length > 0) parts.push(linksTo(page, problem.fields))
  if (problem.link !== undefined) {
    const line = page.createElement('p')
    const link = page.createElement('a')
    link.href = problem.link.href
    link.textContent = problem.link.text
    line.append(link)
    parts.push(line)
  }
  if (problem.retryAfterSeconds !== undefined) parts.push(countdown(page, problem.retryAfterSeconds))
  summary.replaceChildren(...parts)
  summary.hidden = false
  summary.focus()
}

function sentence(page: Document, text: string): HTMLParagraphElement {
  const line = page.createElement('p')
  line.textContent = text
  return line
}

function labelOf(page: Document, field: string): string {
  return byId(page, field, HTMLInputElement).labels?.[0]?.textContent.trim() ?? ''
}

/** Counts down in sight only: read aloud is the first sentence and the last, not every second between. */
function countdown(page: Document, seconds: number): HTMLParagraphElement {
  const line = page.createElement('p')
  const end = Date.now() + seconds * 1000
  const text = (): string => {
    const left = Math.ceil((end - Date.now()) / 1000)
    return left > 0 ? `You can try again in ${left} s.` : 'You can try again now.'
  }
  line.setAttribute('aria-live', 'off')
  line.textContent = text()
  const timer = setInterval(() => {
    if (!line.isConnected || Date.now() >= end) clearInterval(timer)
    if (Date.now() >= end) line.removeAttribute('aria-live')
    line.textContent = text()
  }, 1000)
  return line
}

function linksTo(page: Document, problems: readonly FieldProblem[]): HTMLUListElement {
  const list = page.createElement('ul')
  for (const { field, message, listed } of problems) {
    const link = page.createElement('a')
    link.href = `#${field}`
    link.textContent = listed === true ? `${labelOf(page, field)}: ${message}` : message
    link.addEventListener('click', (event) => {
      event.preventDefault()
      page.getElementById(field)?.focus()
    })
    const item = page.createElement('li')
    item.append(link)
    list.append(item)
  }
  return list
}

/** Buttons with `data-toggles="<input id>"` show and hide what was typed. */
export function bindPasswordToggles(root: ParentNode): void {
  for (const button of root.querySelectorAll<HTMLButtonElement>('button[data-toggles]')) {
    const input = byId(button.ownerDocument, button.dataset['toggles'] ?? '', HTMLInputElement)
    button.hidden = false
    button.addEventListener('click', () => {
      const show = input.type === 'password'
      input.type = show ? 'text' : 'password'
      button.textContent = show ? 'Hide' : 'Show'
      input.focus()
    })
  }
}

/**
 * Keeps a list of rules beside a field, each with a word for its state, right while one types.
 *
 * `username` is asked for each time: a rule may compare with it, so `follow` names its input too.
 */
export function bindChecklist(options: {
  readonly list: HTMLElement
  readonly input: HTMLInputElement
  readonly rules: readonly Rule[]
  readonly username: () => string
  readonly follow?: HTMLInputElement
}): void {
  const { list, input, rules } = options
  const page = list.ownerDocument
  const rows = rules.map((rule) => {
    const row = page.createElement('li')
    const text = page.createElement('span')
    text.textContent = rule.text
    const state = page.createElement('span')
    state.className = 'checklist-state'
    row.append(state, text)
    return { rule, row, state }
  })
  list.replaceChildren(...rows.map(({ row }) => row))
  const refresh = (): void => {
    const broken = new Set(brokenRules(rules, input.value, options.username()))
    for (const { rule, row, state } of rows) {
      const open = input.value === ''
      row.dataset['state'] = open ? 'open' : broken.has(rule) ? 'broken' : 'kept'
      state.textContent = open ? '' : broken.has(rule) ? 'Not yet: ' : 'Done: '
    }
  }
  input.addEventListener('input', refresh)
  options.follow?.addEventListener('input', refresh)
  refresh()
}
