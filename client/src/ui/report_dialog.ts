/** Reporting a person: what is chosen, then exactly what will be disclosed, and only then the sending. */
import { html, LitElement, nothing, type PropertyDeclarations, type TemplateResult } from 'lit'
import type { Conversation } from '../chat/conversation'
import type { Disclosed } from '../chat/disclosure'
import { disclosedBytes, sendReport } from '../chat/report'
import type { ChatSession } from '../chat/session'
import { ApiRefused, ApiUnreachable } from '../net/api'
import { REPORT_CATEGORIES, type ReportCategory } from '../wire/report'
import type { ReportLimits } from './chat_app'
import { shownName } from './person'
import { clockTime, dayName, isoTime } from './times'

/** Of the friend's messages that are loaded, so many around the one that was pressed. */
const OFFERED_MESSAGES = 100

const CATEGORY_WORDS: Record<ReportCategory, string> = {
  spam: 'Spam or fraud',
  harassment: 'Harassment or insults',
  threat: 'Threats or violence',
  sexual: 'Unwanted sexual content',
  impersonation: 'Pretending to be somebody else',
  other: 'Something else',
}

type Step = 'choose' | 'review' | 'done'

export interface Choosable {
  readonly n: number
  readonly storedAt: number
  readonly text: string
}

export interface ReportSubject {
  readonly session: ChatSession
  readonly conversation: Conversation
  /** The message that was pressed, or null for the person. */
  readonly n: number | null
  readonly limits: ReportLimits
}

/** Opens over the page; the focus goes back to where it was when it closes. */
export function openReport(host: HTMLElement, subject: ReportSubject): void {
  if (host.querySelector('report-dialog') !== null) return
  const opener = document.activeElement
  const dialog: ReportDialog = document.createElement('report-dialog')
  dialog.subject = subject
  dialog.chosen = new Set(subject.n === null ? [] : [subject.n])
  dialog.addEventListener('report-closed', () => {
    dialog.remove()
    if (opener instanceof HTMLElement && opener.isConnected) opener.focus()
  })
  host.append(dialog)
}

/** What the friend wrote and this page shows, around `n` or up to the newest. */
export function choosable(
  conversation: Pick<Conversation, 'entries' | 'side'>,
  n: number | null,
): Choosable[] {
  const all = conversation.entries.flatMap(({ n, side, storedAt, shown }) =>
    side !== conversation.side && shown.kind === 'text' ? [{ n, storedAt, text: shown.text }] : [],
  )
  const at = n === null ? all.length : all.findIndex((message) => message.n === n)
  const from = Math.max(0, Math.min(at - OFFERED_MESSAGES / 2, all.length - OFFERED_MESSAGES))
  return all.slice(from, from + OFFERED_MESSAGES)
}

export class ReportDialog extends LitElement {
  static override properties: PropertyDeclarations = {
    subject: { attribute: false },
    chosen: { attribute: false },
    step: { state: true },
    busy: { state: true },
    problem: { state: true },
  }

  declare subject: ReportSubject
  declare chosen: ReadonlySet<number>
  declare step: Step
  declare busy: boolean
  declare problem: string
  #category: ReportCategory | null = null
  #note = ''
  #disclosed: readonly Disclosed[] = []
  #offered: readonly Choosable[] = []

  constructor() {
    super()
    this.chosen = new Set()
    this.step = 'choose'
    this.busy = false
    this.problem = ''
  }

  protected override createRenderRoot(): HTMLElement {
    return this
  }

  get #peer(): string {
    return shownName(this.subject.conversation.summary.peer)
  }

  protected override willUpdate(changed: Map<PropertyKey, unknown>): void {
    if (changed.has('subject')) this.#offered = choosable(this.subject.conversation, this.subject.n)
  }

  protected override firstUpdated(): void {
    this.querySelector('dialog')?.showModal()
    this.#focusTitle()
  }

  #focusTitle(): void {
    this.querySelector<HTMLElement>('#report-title')?.focus()
  }

  async #go(step: Step): Promise<void> {
    this.step = step
    this.problem = ''
    await this.updateComplete
    this.querySelector('dialog')?.scrollTo(0, 0)
    this.#focusTitle()
  }

  #close(): void {
    this.querySelector('dialog')?.close()
  }

  protected override render(): TemplateResult {
    return html`<dialog
      class="dialog report-dialog"
      aria-labelledby="report-title"
      @close=${() => {
        this.dispatchEvent(new CustomEvent('report-closed'))
      }}
      @cancel=${(event: Event) => {
        if (this.busy) event.preventDefault()
      }}
      @keydown=${(event: KeyboardEvent) => {
        // What the dialog is for is not for the page below it.
        event.stopPropagation()
      }}
    >
      ${this.#step()}
    </dialog>`
  }

  #step(): TemplateResult {
    switch (this.step) {
      case 'choose':
        return this.#choose()
      case 'review':
        return this.#review()
      case 'done':
        return this.#done()
    }
  }

  #trouble(): TemplateResult | typeof nothing {
    return this.problem === ''
      ? nothing
      : html`<p class="banner banner-alarm" role="alert">${this.problem}</p>`
  }

  // What to report

  #choose(): TemplateResult {
    const { maxNoteCharacters } = this.subject.limits
    return html`<form
      novalidate
      @submit=${(event: Event) => {
        event.preventDefault()
        void this.#prepare()
      }}
    >
      <h2 id="report-title" tabindex="-1">Report <bdi>${this.#peer}</bdi></h2>
      ${this.#trouble()}
      <fieldset class="report-categories">
        <legend>What is it about?</legend>
        ${REPORT_CATEGORIES.map(
          (category) =>
            html`<label class="check">
              <input
                type="radio"
                name="category"
                value=${category}
                .checked=${this.#category === category}
                @change=${() => {
                  this.#category = category
                }}
              />
              ${CATEGORY_WORDS[category]}
            </label>`,
        )}
      </fieldset>
      ${this.#messages()}
      <div class="field">
        <label for="report-note">Anything that the operators should know (optional)</label>
        <textarea
          id="report-note"
          rows="3"
          maxlength=${maxNoteCharacters}
          .value=${this.#note}
          @input=${(event: Event) => {
            this.#note = (event.currentTarget as HTMLTextAreaElement).value
          }}
        ></textarea>
      </div>
      <p class="field-hint">Nothing is sent yet. Next you see exactly what will be disclosed.</p>
      <div class="button-row">
        <button class="button button-primary" type="submit" aria-disabled=${this.busy ? 'true' : 'false'}>
          ${this.busy ? 'Opening the messages…' : 'Continue'}
        </button>
        ${this.#cancel()}
      </div>
    </form>`
  }

  #cancel(): TemplateResult {
    return html`<button
      class="button"
      type="button"
      @click=${() => {
        this.#close()
      }}
    >
      Cancel
    </button>`
  }

  #messages(): TemplateResult {
    if (this.#offered.length === 0)
      return html`<p class="small">
        <bdi>${this.#peer}</bdi> has written nothing that is loaded here: the report is about the person.
      </p>`
    return html`<fieldset class="stack">
      <legend>
        Messages to disclose (${this.chosen.size} of at most ${this.subject.limits.maxMessages})
      </legend>
      <div class="report-choices" tabindex="0" role="group" aria-label="Messages of ${this.#peer}">
        ${this.#offered.map(
          ({ n, storedAt, text }) =>
            html`<label class="check">
              <input
                type="checkbox"
                data-n=${n}
                .checked=${this.chosen.has(n)}
                @change=${(event: Event) => {
                  this.#toggle(n, (event.currentTarget as HTMLInputElement).checked)
                }}
              />
              <span>
                <time class="small muted" datetime=${isoTime(storedAt)}>${when(storedAt)}</time>
                <span class="report-text" dir="auto">${text}</span>
              </span>
            </label>`,
        )}
      </div>
      <p class="field-hint">Without any, the report is about the person alone, and proves nothing.</p>
    </fieldset>`
  }

  #toggle(n: number, wanted: boolean): void {
    const chosen = new Set(this.chosen)
    if (wanted) chosen.add(n)
    else chosen.delete(n)
    this.chosen = chosen
  }

  async #prepare(): Promise<void> {
    const { conversation, limits } = this.subject
    if (this.busy) return
    if (this.#category === null) {
      this.problem = 'Choose what it is about.'
      this.querySelector<HTMLElement>('input[name=category]')?.focus()
      return
    }
    if (this.chosen.size > limits.maxMessages) {
      this.problem = `Choose at most ${limits.maxMessages} messages.`
      return
    }
    this.busy = true
    try {
      this.#disclosed = await conversation.disclose([...this.chosen])
    } catch {
      this.problem = 'These messages cannot be opened for a report now. Try again when you are online.'
      return
    } finally {
      this.busy = false
    }
    if (disclosedBytes(this.#disclosed) > limits.maxBytes)
      this.problem = 'These messages are too long for one report. Choose fewer of them.'
    else await this.#go('review')
  }

  // What will be disclosed

  #review(): TemplateResult {
    const messages = this.#disclosed
    return html`<form
      novalidate
      @submit=${(event: Event) => {
        event.preventDefault()
        void this.#send()
      }}
    >
      <h2 id="report-title" tabindex="-1">This is what the operators will see</h2>
      ${this.#trouble()}
      <div class="report-preview">
        <p>
          That you, under your name, report <strong><bdi>${this.#peer}</bdi></strong
          >, for: <strong>${CATEGORY_WORDS[this.#category ?? 'other']}</strong>.
        </p>
        ${
          this.#note.trim() === ''
            ? html`<p>No note.</p>`
            : html`<p>Your note: <span class="report-text" dir="auto">${this.#note.trim()}</span></p>`
        }
        ${
          messages.length === 0
            ? html`<p>No message.</p>`
            : html`<ol aria-label="Messages that will be disclosed">
                ${messages.map(
                  ({ storedAt, text }) =>
                    html`<li>
                      <time class="small muted" datetime=${isoTime(storedAt)}>${when(storedAt)}</time>
                      <span class="report-text" dir="auto">${text}</span>
                    </li>`,
                )}
              </ol>`
        }
      </div>
      <p>${this.#sentence(messages.length)}</p>
      <div class="button-row">
        <button class="button button-danger" type="submit" aria-disabled=${this.busy ? 'true' : 'false'}>
          ${this.busy ? 'Sending…' : 'Send the report'}
        </button>
        <button
          class="button"
          type="button"
          @click=${() => {
            if (!this.busy) void this.#go('choose')
          }}
        >
          Back
        </button>
        ${this.#cancel()}
      </div>
    </form>`
  }

  #sentence(count: number): TemplateResult {
    if (count === 0)
      return html`No message leaves this browser. <bdi>${this.#peer}</bdi> is not told who reported.`
    const these = count === 1 ? 'this message goes its key' : `these ${count} messages go their keys`
    return html`With ${these}, as proof that <bdi>${this.#peer}</bdi> sent exactly this. Nothing else of your
      conversation can be read with it. <bdi>${this.#peer}</bdi> is not told who reported.`
  }

  async #send(): Promise<void> {
    if (this.busy) return
    const { session, conversation } = this.subject
    this.busy = true
    try {
      await sendReport(session.api, {
        conversation: conversation.id,
        category: this.#category ?? 'other',
        note: this.#note.trim(),
        messages: this.#disclosed,
      })
    } catch (error) {
      if (!(error instanceof ApiRefused || error instanceof ApiUnreachable)) throw error
      this.problem = error.message
      return
    } finally {
      this.busy = false
    }
    await this.#go('done')
  }

  #done(): TemplateResult {
    return html`<div class="stack">
      <h2 id="report-title" tabindex="-1">The report is sent</h2>
      <p>
        An operator will look at it. What comes of it is in
        <a href=${this.subject.limits.page}>your reports</a>.
      </p>
      <div class="button-row">
        <button
          class="button button-primary"
          type="button"
          @click=${() => {
            this.#close()
          }}
        >
          Close
        </button>
      </div>
    </div>`
  }
}

function when(milliseconds: number): string {
  return `${dayName(milliseconds, Date.now())}, ${clockTime(milliseconds)}`
}

customElements.define('report-dialog', ReportDialog)

declare global {
  interface HTMLElementTagNameMap {
    'report-dialog': ReportDialog
  }
}
