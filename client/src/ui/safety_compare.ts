/** Two people make sure that nobody stands between them: the safety number as digits and as a code to scan. */
import { html, LitElement, nothing, type PropertyDeclarations, type TemplateResult } from 'lit'
import type { Conversation } from '../chat/conversation'
import { shownName } from './person'
import { groupsOf } from './safety_words'
import type { Scan } from './scan'

type Tab = 'in_person' | 'by_phone'
type Scanning = 'off' | 'starting' | 'looking' | 'no_camera' | 'failed' | 'no_fit'

const TABS: readonly { readonly tab: Tab; readonly label: string }[] = [
  { tab: 'in_person', label: 'In person' },
  { tab: 'by_phone', label: 'By phone' },
]

export class SafetyCompare extends LitElement {
  static override properties: PropertyDeclarations = {
    conversation: { attribute: false },
    tick: { attribute: false },
    tab: { state: true },
    number: { state: true },
    picture: { state: true },
    copied: { state: true },
    scanning: { state: true },
  }

  declare conversation: Conversation
  /** Grows whenever the conversation may have changed. */
  declare tick: number
  declare tab: Tab
  declare number: string | null
  declare picture: SVGSVGElement | null
  declare copied: string
  declare scanning: Scanning
  #shownFor: string | null = null
  #scan: Scan | null = null
  /** Grows with each scan, so that one that was put off does not begin late. */
  #scans = 0

  constructor() {
    super()
    this.tab = 'in_person'
    this.number = null
    this.picture = null
    this.copied = ''
    this.scanning = 'off'
  }

  protected override createRenderRoot(): HTMLElement {
    return this
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback()
    this.#stopScan('off')
  }

  get #peer(): string {
    return shownName(this.conversation.summary.peer)
  }

  protected override willUpdate(): void {
    const code = this.conversation.safetyCode
    if (code === this.#shownFor) return
    this.#shownFor = code
    this.number = null
    this.picture = null
    this.copied = ''
    this.#stopScan('off')
    if (code !== null) void this.#load(code)
  }

  async #load(code: string): Promise<void> {
    const [number, { qrCode }] = await Promise.all([this.conversation.safetyNumber(), import('./qr')])
    if (this.#shownFor !== code) return
    this.number = number
    this.picture = qrCode(code, `Code of your safety number with ${this.#peer}, to be scanned`)
  }

  protected override render(): TemplateResult {
    const panel = this.tab === 'in_person' ? this.#inPerson() : this.#byPhone()
    return html`<div class="stack">
      <div
        class="tabs tabs-small"
        role="tablist"
        aria-label="How to compare"
        @keydown=${(event: KeyboardEvent) => {
          this.#key(event)
        }}
      >
        ${TABS.map(
          ({ tab, label }) =>
            html`<button
              type="button"
              role="tab"
              id="compare-tab-${tab}"
              aria-controls="compare-panel"
              aria-selected=${tab === this.tab ? 'true' : 'false'}
              tabindex=${tab === this.tab ? 0 : -1}
              @click=${() => {
                this.#choose(tab)
              }}
            >
              ${label}
            </button>`,
        )}
      </div>
      <div class="stack" role="tabpanel" id="compare-panel" aria-labelledby="compare-tab-${this.tab}">
        ${panel}
      </div>
    </div>`
  }

  #choose(tab: Tab): void {
    this.tab = tab
    this.copied = ''
    this.#stopScan('off')
  }

  #key(event: KeyboardEvent): void {
    if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return
    event.preventDefault()
    this.#choose(this.tab === 'in_person' ? 'by_phone' : 'in_person')
    void this.updateComplete.then(() => {
      this.querySelector<HTMLElement>(`#compare-tab-${this.tab}`)?.focus()
    })
  }

  #inPerson(): TemplateResult {
    return html`<p class="small">
        Hold the two screens side by side: both must show the same number. Or scan the code on
        <bdi>${this.#peer}</bdi>'s screen.
      </p>
      ${this.#digits()} ${this.#camera()}`
  }

  #byPhone(): TemplateResult {
    return html`<p class="small">
        Call <bdi>${this.#peer}</bdi>, make sure that you know the voice, and read the number to each other.
        Do not send it as a message here.
      </p>
      ${this.#digits()}`
  }

  #digits(): TemplateResult {
    const { number } = this
    if (number === null) return html`<p class="muted small" role="status">Computing the safety number…</p>`
    return html`<ol class="safety-number" aria-label="Safety number" translate="no">
        ${groupsOf(number).map((group) => html`<li>${group}</li> `)}
      </ol>
      <div class="cluster">
        <button class="button button-small" type="button" @click=${() => void this.#copy(number)}>
          <span class="icon icon-copy" aria-hidden="true"></span>Copy the number
        </button>
        <span class="small muted" role="status">${this.copied}</span>
      </div>`
  }

  async #copy(number: string): Promise<void> {
    try {
      await navigator.clipboard.writeText(number)
      this.copied = 'Copied'
    } catch {
      const digits = this.querySelector('.safety-number')
      if (digits !== null) getSelection()?.selectAllChildren(digits)
      this.copied = 'Selected. Copy it with your keyboard.'
    }
  }

  // Scanning

  #camera(): TemplateResult {
    const { scanning } = this
    if (scanning === 'starting' || scanning === 'looking')
      return html`<div class="scanner">
        <video muted playsinline aria-label="Your camera"></video>
        <p class="small" role="status">
          ${
            scanning === 'starting'
              ? 'Asking for the camera…'
              : html`Point the camera at the code on <bdi>${this.#peer}</bdi>'s screen.`
          }
        </p>
        <button
          class="button button-small"
          type="button"
          @click=${() => {
            this.#stopScan('off')
          }}
        >
          Stop scanning
        </button>
      </div>`
    return html`${this.picture === null ? nothing : html`<div class="qr-frame">${this.picture}</div>`}
      <div class="stack" role="status">${this.#scanResult()}</div>
      <div>
        <button class="button button-small" type="button" @click=${() => void this.#startScan()}>
          ${scanning === 'no_fit' ? 'Scan again' : html`<span>Scan <bdi>${this.#peer}</bdi>'s code</span>`}
        </button>
      </div>`
  }

  #scanResult(): TemplateResult | typeof nothing {
    switch (this.scanning) {
      case 'no_camera':
        return html`<p class="small">No camera can be used here. Compare the digits instead.</p>`
      case 'failed':
        return html`<p class="small">The camera could not be started. Compare the digits instead.</p>`
      case 'no_fit':
        return html`<p class="field-error">
          This code does not fit. Was it <bdi>${this.#peer}</bdi>'s screen, opened in the conversation with
          you? If it was, somebody may stand between you: press “They do not match”.
        </p>`
      case 'off':
      case 'starting':
      case 'looking':
        return nothing
    }
  }

  async #startScan(): Promise<void> {
    this.#scans += 1
    const turn = this.#scans
    this.scanning = 'starting'
    await this.updateComplete
    const video = this.querySelector('video')
    if (video === null) return
    const { scan, NoCamera } = await import('./scan')
    try {
      const running = await scan(video, (text) => this.#scanned(text, turn))
      if (turn !== this.#scans) running.stop()
      else {
        this.#scan = running
        this.scanning = 'looking'
      }
    } catch (error) {
      if (turn === this.#scans) this.#stopScan(error instanceof NoCamera ? 'no_camera' : 'failed')
    }
  }

  /** Whether the scan is over: any other text that a camera finds is not what was looked for. */
  #scanned(text: string, turn: number): boolean {
    if (turn !== this.#scans) return true
    const answer = this.conversation.compareCode(text)
    if (answer === 'no_code') return false
    this.#stopScan(answer === 'fits' ? 'off' : 'no_fit')
    if (answer === 'fits') this.dispatchEvent(new CustomEvent('numbers-match', { bubbles: true }))
    return true
  }

  #stopScan(after: Scanning): void {
    this.#scans += 1
    this.#scan?.stop()
    this.#scan = null
    this.scanning = after
  }
}

customElements.define('safety-compare', SafetyCompare)

declare global {
  interface HTMLElementTagNameMap {
    'safety-compare': SafetyCompare
  }
}
