/** The drawer beside a room: what is known of the friend's keys and of the history, and what to do about it. */
import { html, LitElement, nothing, type PropertyDeclarations, type TemplateResult } from 'lit'
import type { Conversation } from '../chat/conversation'
import type { ChatSession } from '../chat/session'
import { download } from './download'
import { shownName } from './person'
import './safety_compare'
import { confirmedWords, historyWords, proofFileName } from './safety_words'
import { dayName, isoTime } from './times'

const VERIFY_COMMAND = 'manage.py verify_proof FILE'

export class ConversationDetails extends LitElement {
  static override properties: PropertyDeclarations = {
    conversation: { attribute: false },
    session: { attribute: false },
    tick: { attribute: false },
    said: { state: true },
    checking: { state: true },
    exported: { state: true },
  }

  declare conversation: Conversation
  declare session: ChatSession
  /** Grows whenever the conversation may have changed. */
  declare tick: number
  /** What a press of a button did, for those who listen. */
  declare said: string
  declare checking: boolean
  declare exported: string
  #shown: Conversation | null = null

  constructor() {
    super()
    this.said = ''
    this.checking = false
    this.exported = ''
  }

  protected override createRenderRoot(): HTMLElement {
    return this
  }

  focusHeading(): void {
    this.querySelector<HTMLElement>('#details-title')?.focus()
  }

  get #peer(): string {
    return shownName(this.conversation.summary.peer)
  }

  protected override willUpdate(): void {
    if (this.#shown === this.conversation) return
    this.#shown = this.conversation
    this.said = ''
    this.exported = ''
    this.checking = false
  }

  protected override render(): TemplateResult {
    return html`<aside class="chat-details" id="conversation-details" aria-label="Conversation details">
      <div class="chat-details-head">
        <h2 id="details-title" tabindex="-1">Encryption</h2>
        <button
          class="icon-button"
          type="button"
          aria-label="Close"
          @click=${() => {
            this.dispatchEvent(new CustomEvent('details-close', { bubbles: true }))
          }}
        >
          <span class="icon icon-cross" aria-hidden="true"></span>
        </button>
      </div>
      <p class="visually-hidden" role="status">${this.said}</p>
      <section
        class="details-part"
        @numbers-match=${() => {
          this.#match()
        }}
      >
        ${this.#encryption()}
      </section>
      <section class="details-part" aria-labelledby="history-title">
        <h3 id="history-title">History</h3>
        ${this.#history()}
      </section>
      <section class="details-part" aria-labelledby="receipts-title">
        <h3 id="receipts-title">Read receipts</h3>
        ${this.#receipts()}
      </section>
      <section class="details-part" aria-labelledby="report-heading">
        <h3 id="report-heading">Report</h3>
        <p class="small muted">
          The operators cannot read your messages. They see what you choose to show them, and nothing else.
        </p>
        <div>
          <button
            class="button button-small"
            type="button"
            @click=${() => {
              this.dispatchEvent(new CustomEvent('report-wanted', { detail: null, bubbles: true }))
            }}
          >
            Report this person…
          </button>
        </div>
      </section>
    </aside>`
  }

  // Encryption

  #encryption(): TemplateResult {
    switch (this.conversation.trust) {
      case 'unknown':
        return html`<p class="muted" role="status">The keys of <bdi>${this.#peer}</bdi> are not here yet.</p>`
      case 'unverified':
        return this.#unverified()
      case 'verified':
        return this.#verified()
      case 'changed':
        return this.#changed()
      case 'mismatch':
        return this.#mismatch()
    }
  }

  #unverified(): TemplateResult {
    return html`<p class="small">
        Messages are encrypted between your browsers and <bdi>${this.#peer}</bdi>'s. Compare once, and you
        know that these keys really are <bdi>${this.#peer}</bdi>'s and that nobody stands between you.
      </p>
      ${this.#compareHeading()} ${this.#compare()} ${this.#answers()}`
  }

  #compareHeading(): TemplateResult {
    return html`<h3>Compare with <bdi>${this.#peer}</bdi></h3>`
  }

  #compare(): TemplateResult {
    return html`<safety-compare .conversation=${this.conversation} .tick=${this.tick}></safety-compare>`
  }

  #answers(): TemplateResult {
    return html`<div class="button-row">
      <button
        class="button button-primary"
        type="button"
        @click=${() => {
          this.#match()
        }}
      >
        They match
      </button>
      <button
        class="button button-danger"
        type="button"
        @click=${() => {
          void this.#tell(() => this.conversation.theyDoNotMatch(), 'Sending is stopped.')
        }}
      >
        They do not match
      </button>
    </div>`
  }

  #match(): void {
    void this.#tell(() => this.conversation.theyMatch(), `${this.#peer} is verified.`)
  }

  #verified(): TemplateResult {
    const { verifiedAt } = this.conversation
    return html`<p class="verified-word">
        <span class="icon icon-shield" aria-hidden="true"></span>
        <span
          ><strong>Verified</strong> on
          <time datetime=${isoTime(verifiedAt)}>${dayName(verifiedAt, Date.now())}</time></span
        >
      </p>
      <p class="small">
        You compared safety numbers with <bdi>${this.#peer}</bdi>. If these keys ever change, nothing is sent
        before you compare again.
      </p>
      <div>
        <button
          class="button button-small"
          type="button"
          @click=${() => {
            void this.#tell(() => this.conversation.unverify(), `${this.#peer} is not verified any more.`)
          }}
        >
          Not verified any more
        </button>
      </div>
      <details class="details-more">
        <summary>Show the safety number</summary>
        ${this.#compare()}
      </details>`
  }

  #changed(): TemplateResult {
    return html`<p class="details-alarm">
        <strong><bdi>${this.#peer}</bdi>'s safety number changed.</strong> Either
        <bdi>${this.#peer}</bdi> lost password and recovery code and started over, or somebody pretends to be
        <bdi>${this.#peer}</bdi>. Ask in person or by phone, and compare before you send.
      </p>
      ${this.#compareHeading()} ${this.#compare()} ${this.#answers()}`
  }

  #mismatch(): TemplateResult {
    return html`<p class="details-alarm">
        <strong>The safety numbers do not match, so nothing is sent here.</strong> Somebody may stand between
        you, or one of you looked at another conversation. Do not tell <bdi>${this.#peer}</bdi> here: call or
        meet, and compare again.
      </p>
      ${this.#compareHeading()} ${this.#compare()}
      <div class="button-row">
        <button
          class="button button-primary"
          type="button"
          @click=${() => {
            this.#match()
          }}
        >
          They match
        </button>
        <button
          class="button"
          type="button"
          @click=${() => {
            void this.#tell(
              () => this.conversation.clearMismatch(),
              'Sending is possible again. The numbers are not compared.',
            )
          }}
        >
          Send without comparing
        </button>
      </div>`
  }

  /** What was pressed may be gone afterwards: the heading takes the focus then, and a voice says what happened. */
  async #tell(act: () => Promise<void>, said: string): Promise<void> {
    await act()
    this.said = said
    this.requestUpdate()
    await this.updateComplete
    if (document.activeElement === document.body) this.focusHeading()
  }

  // History

  #history(): TemplateResult {
    const { history, alarm } = this.conversation
    const { checked, total } = history
    const confirmed = confirmedWords(history, this.#peer)
    return html`${
        alarm === null
          ? html`<p class=${checked === total && total > 0 ? 'history-complete' : ''}>
              ${historyWords(history)}
            </p>`
          : html`<p>The history could not be checked: see the alarm above the messages.</p>`
      }
      ${confirmed === null ? nothing : html`<p class="small">${confirmed}</p>`}
      ${
        this.checking
          ? html`<div class="stack" role="status">
              <progress max=${total} value=${checked} aria-label="Checked messages"></progress>
            </div>`
          : nothing
      }
      ${this.#historyButtons()}
      <p class="small" role="status">${this.exported}</p>`
  }

  #historyButtons(): TemplateResult | typeof nothing {
    const { history, alarm } = this.conversation
    if (history.total === 0 || alarm !== null) return nothing
    return html`<div class="button-row">
        ${
          history.checked < history.total
            ? html`<button
                class="button button-small"
                type="button"
                aria-disabled=${this.checking ? 'true' : 'false'}
                @click=${() => void this.#checkAll()}
              >
                ${this.checking ? 'Checking…' : 'Check all'}
              </button>`
            : nothing
        }
        <button
          class="button button-small"
          type="button"
          aria-describedby="proof-note"
          @click=${() => void this.#export()}
        >
          Export proof
        </button>
      </div>
      <p class="small muted" id="proof-note">
        The file proves, without any text, which messages in which order both browsers signed for. Anybody can
        check it without a server: <code>${VERIFY_COMMAND}</code>
      </p>`
  }

  async #checkAll(): Promise<void> {
    if (this.checking) return
    const { conversation } = this
    this.checking = true
    try {
      await conversation.checkAll()
    } finally {
      if (this.conversation === conversation) this.checking = false
    }
  }

  async #export(): Promise<void> {
    const { conversation } = this
    this.exported = 'Gathering what was signed…'
    try {
      const content = await conversation.exportProof()
      const name = proofFileName(conversation.summary.peer, Date.now())
      download(document, { name, content, type: 'application/json' })
      this.exported = `Saved as ${name}.`
    } catch {
      this.exported = 'The proof could not be made. Try again when you are online.'
    }
  }

  // Read receipts

  #receipts(): TemplateResult {
    return html`<label class="check">
        <input
          type="checkbox"
          .checked=${this.session.sharesRead}
          aria-describedby="receipts-note"
          @change=${(event: Event) => {
            this.session.setSharesRead((event.currentTarget as HTMLInputElement).checked)
          }}
        />
        Show friends when I have read their messages
      </label>
      <p class="small muted" id="receipts-note">
        In all conversations. Whoever does not show it does not see it of others, either.
      </p>`
  }
}

customElements.define('conversation-details', ConversationDetails)

declare global {
  interface HTMLElementTagNameMap {
    'conversation-details': ConversationDetails
  }
}
