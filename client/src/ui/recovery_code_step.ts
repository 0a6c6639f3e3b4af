/** Shows a new recovery code, lets it be kept, and has one group typed back. */
import { formatRecoveryCode, parseRecoveryCode } from '../crypto/recovery_code'
import type { Bytes, Random } from '../wire/bytes'
import { byId, type FormProblem, takeOver } from './forms'
import { showStep } from './steps'

export interface RecoveryCodeOptions {
  readonly page: Document
  readonly username: string
  readonly origin: string
  readonly code: Bytes
  readonly random: Random
  /** Other parts of the page, which are hidden meanwhile. */
  readonly otherSteps: readonly HTMLElement[]
  /** Tells the server that the person has the code. */
  readonly confirm: () => Promise<void>
  readonly problemOf: (error: unknown) => FormProblem
}

class WrongGroup extends Error {}

/** Ends with the last step on show: typed back and confirmed, or skipped. Call it once for a page. */
export function runRecoveryCodeStep(options: RecoveryCodeOptions): void {
  const { page, code } = options
  const steps = ['recovery-code-step', 'type-back-step', 'recovery-done-step'].map((id) =>
    byId(page, id, HTMLElement),
  )
  const [codeStep, typeBackStep, doneStep] = steps as [HTMLElement, HTMLElement, HTMLElement]
  const show = (step: HTMLElement): void => {
    showStep(step, [...steps, ...options.otherSteps])
  }
  const groups = formatRecoveryCode(code).split('-')
  const asked = pick(groups.length, options.random)
  const leaving = new AbortController()

  fillCode(options, groups)
  // Whoever has a code is signed in by now, though the page was made before.
  for (const links of page.querySelectorAll<HTMLElement>('[data-for-strangers]')) links.hidden = true
  page.defaultView?.addEventListener(
    'beforeunload',
    (event) => {
      event.preventDefault()
    },
    { signal: leaving.signal },
  )
  const finish = (sentence: string): void => {
    leaving.abort()
    byId(page, 'recovery-code-groups', HTMLOListElement).replaceChildren()
    byId(page, 'recovery-done-text', HTMLElement).textContent = sentence
    show(doneStep)
  }

  byId(page, 'recovery-code-kept', HTMLButtonElement).addEventListener('click', () => {
    show(typeBackStep)
    byId(page, 'type-back', HTMLInputElement).focus()
  })
  byId(page, 'type-back-again', HTMLButtonElement).addEventListener('click', () => {
    show(codeStep)
  })
  byId(page, 'type-back-skip', HTMLButtonElement).addEventListener('click', () => {
    finish(
      'You have not confirmed the recovery code. A reminder stays on your pages; Settings can make a new code.',
    )
  })
  byId(page, 'type-back-number', HTMLElement).textContent = String(asked + 1)
  takeOver(
    byId(page, 'type-back-form', HTMLFormElement),
    async (form) => {
      if (!isGroup(form.value('type-back'), groups, asked)) throw new WrongGroup()
      form.busy('Confirming…')
      await options.confirm()
      finish('Your recovery code is confirmed. Keep it where you will find it without this browser.')
      return 'stay'
    },
    (error) => (error instanceof WrongGroup ? wrongGroup(asked) : options.problemOf(error)),
  )
  show(codeStep)
}

function wrongGroup(asked: number): FormProblem {
  const message = `That is not group ${asked + 1} of your code. Look at the code again.`
  return { fields: [{ field: 'type-back', message }] }
}

/** Whether the asked group was typed, or the whole code pasted; case, and letters that look like digits, do not matter. */
export function isGroup(typed: string, groups: readonly string[], asked: number): boolean {
  const before = groups.slice(0, asked).join('')
  const after = groups.slice(asked + 1).join('')
  const typedCharacters = typed.replace(/[\s-]/g, '')
  const candidate = typedCharacters.length > 4 ? typedCharacters : before + typedCharacters + after
  try {
    return formatRecoveryCode(parseRecoveryCode(candidate)) === groups.join('-')
  } catch {
    return false
  }
}

function pick(count: number, random: Random): number {
  return (random(1)[0] ?? 0) % count
}

function fillCode(options: RecoveryCodeOptions, groups: readonly string[]): void {
  const { page } = options
  byId(page, 'recovery-code-groups', HTMLOListElement).replaceChildren(
    ...groups.map((group) => {
      const item = page.createElement('li')
      item.textContent = group
      return item
    }),
  )
  byId(page, 'recovery-code-name', HTMLElement).textContent = options.username
  const status = byId(page, 'recovery-code-status', HTMLElement)
  byId(page, 'recovery-code-copy', HTMLButtonElement).addEventListener('click', () => {
    navigator.clipboard.writeText(groups.join('-')).then(
      () => {
        status.textContent = 'Copied. Paste it into a safe place, then copy something else.'
      },
      () => {
        status.textContent = 'The browser did not allow copying. Download or print the code instead.'
      },
    )
  })
  byId(page, 'recovery-code-download', HTMLButtonElement).addEventListener('click', () => {
    download(page, `securechat-recovery-code-${options.username}.txt`, codeFile(options, groups))
    status.textContent = 'Downloaded. Move the file to a safe place.'
  })
  byId(page, 'recovery-code-print', HTMLButtonElement).addEventListener('click', () => {
    page.defaultView?.print()
  })
}

function codeFile(options: RecoveryCodeOptions, groups: readonly string[]): string {
  return [
    `SecureChat recovery code of ${options.username} at ${options.origin}`,
    '',
    groups.join('-'),
    '',
    'Forgot your password? Only this code brings your messages back. The server does not have it.',
    '',
  ].join('\r\n')
}

function download(page: Document, name: string, content: string): void {
  const link = page.createElement('a')
  link.href = URL.createObjectURL(new Blob([content], { type: 'text/plain' }))
  link.download = name
  link.click()
  setTimeout(() => {
    URL.revokeObjectURL(link.href)
  }, 10_000)
}
