/** Where a message is written. What is typed is kept as a draft all the time. */
import { html, LitElement, nothing, type PropertyDeclarations, type TemplateResult } from 'lit'
import type { Conversation } from '../chat/conversation'
import type { Drafts } from '../chat/drafts'
import { isOutOfRoom } from '../store/room'
import { characters, countText, sends } from './composing'
import { shownName } from './person'

const MAX_ROWS = 8

export class ChatComposer extends LitElement {
  static override properties: PropertyDeclarations = {
    conversation: { attribute: false },
    drafts: { attribute: false },
    limit: { attribute: false },
    enterSends: { attribute: false },
    count: { state: true },
    problem: { state: true },
  }

  declare conversation: Conversation
  declare drafts: Drafts
  declare limit: number
  declare enterSends: boolean
  declare count: number
  declare problem: string | null
  #shown: Conversation | null = null

  constructor() {
    super()
    this.count = 0
    this.problem = null
  }

  protected override createRenderRoot(): HTMLElement {
    return this
  }

  focusText(): void {
    this.#text?.focus()
  }

  get #text(): HTMLTextAreaElement | null {
    return this.querySelector('textarea')
  }

  protected override updated(): void {
    const text = this.#text
    if (text === null || this.#shown === this.conversation) return
    this.#shown = this.conversation
    text.value = this.drafts.of(this.conversation.id)
    this.#fit(text)
    this.count = characters(text.value)
    this.problem = null
  }

  protected override render(): TemplateResult {
    const peer = shownName(this.conversation.summary.peer)
    const counted = countText(this.count, this.limit)
    return html`<form
      class="composer"
      @submit=${(event: Event) => {
        event.preventDefault()
        void this.#send()
      }}
    >
      <label class="visually-hidden" for="composer-text">Message to ${peer}</label>
      <textarea
        id="composer-text"
        rows="1"
        placeholder="Message"
        autocomplete="off"
        enterkeyhint=${this.enterSends ? 'send' : 'enter'}
        aria-describedby="composer-count"
        aria-invalid=${this.count > this.limit ? 'true' : 'false'}
        @input=${() => {
          this.#typed()
        }}
        @keydown=${(event: KeyboardEvent) => {
          this.#key(event)
        }}
      ></textarea>
      <button class="button button-primary composer-send" ?disabled=${this.count === 0}>Send</button>
      <p
        class="composer-count"
        id="composer-count"
        role="status"
        data-over=${this.count > this.limit || this.problem !== null ? 'true' : 'false'}
        ?hidden=${counted === null && this.problem === null}
      >
        ${this.problem ?? counted ?? nothing}
      </p>
    </form>`
  }

  #typed(): void {
    const text = this.#text
    if (text === null) return
    this.count = text.value.trim() === '' ? 0 : characters(text.value)
    this.problem = null
    this.drafts.set(this.conversation.id, text.value)
    this.#fit(text)
  }

  /** For browsers without `field-sizing`. */
  #fit(text: HTMLTextAreaElement): void {
    if (CSS.supports('field-sizing', 'content')) return
    text.rows = Math.min(MAX_ROWS, text.value.split('\n').length)
    while (text.rows < MAX_ROWS && text.scrollHeight > text.clientHeight) text.rows += 1
  }

  #key(event: KeyboardEvent): void {
    const touch = matchMedia('(hover: none) and (pointer: coarse)').matches
    if (!sends(event, { enterSends: this.enterSends, touch })) return
    event.preventDefault()
    void this.#send()
  }

  /** The text comes back into the box, before what was typed meanwhile, when it could not be put into the outbox. */
  async #send(): Promise<void> {
    const text = this.#text
    if (text === null) return
    const { conversation, drafts } = this
    const message = text.value.trim()
    if (message === '' || characters(message) > this.limit) {
      text.focus()
      return
    }
    const written = text.value
    text.value = ''
    this.#typed()
    text.focus()
    try {
      await conversation.sender.add(message)
      this.dispatchEvent(new CustomEvent('message-written', { bubbles: true }))
    } catch (error) {
      const restored = [written, drafts.of(conversation.id)].filter((one) => one !== '').join('\n')
      drafts.set(conversation.id, restored)
      if (this.conversation !== conversation) return
      text.value = restored
      this.#typed()
      this.problem = isOutOfRoom(error)
        ? 'Not sent: this browser has no room left to keep the message.'
        : 'Not sent: this browser could not keep the message. Try again.'
    }
  }
}

customElements.define('chat-composer', ChatComposer)
