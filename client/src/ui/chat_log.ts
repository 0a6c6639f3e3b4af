/**
 * The messages of a conversation: a log that keeps its place while older messages come in above and new ones below.
 *
 * At most 400 rows are in the page; the far end is dropped and comes back when it is scrolled to.
 */
import { html, LitElement, nothing, type PropertyDeclarations, type TemplateResult } from 'lit'
import { repeat } from 'lit/directives/repeat.js'
import { alarmText } from '../chat/alarms'
import type { Conversation } from '../chat/conversation'
import { type TextPart, textParts } from './links'
import { type LogItem, logItems, type MessageItem, type Status } from './log_items'
import { holdStill, type LogRange, type LogWindow, movedDown, movedUp, NEWEST, rangeOf } from './log_window'
import { shownName } from './person'
import { lostWords, restartWords } from './safety_words'
import { clockTime, isoTime } from './times'

const NEAR_END_PX = 120
const NEAR_TOP_PX = 400
const MAX_ROWS = 400
const STEP_ROWS = 100
/** Nothing but characters without a shape: joiners, marks without a letter, turners of direction. */
const INVISIBLE = /^[\p{C}\p{Z}\p{M}]*$/u

interface Anchor {
  readonly element: HTMLElement
  readonly top: number
}

export class ChatLog extends LitElement {
  static override properties: PropertyDeclarations = {
    conversation: { attribute: false },
    tick: { attribute: false },
  }

  declare conversation: Conversation
  /** Grows whenever the conversation may have changed. */
  declare tick: number

  #shown: Conversation | null = null
  #newAfter: number | null = null
  #seenN = 0
  #window: LogWindow = NEWEST
  #range: LogRange = { from: 0, to: 0 }
  #keys: readonly string[] = []
  #following = true
  #placed = false
  #anchor: Anchor | null = null
  #items: readonly LogItem[] = []
  #focusKey: string | null = null
  #observer: IntersectionObserver | null = null
  #size = ''
  readonly #resized = new ResizeObserver(() => {
    this.#fit()
  })
  readonly #onVisible = (): void => {
    this.#noteRead()
  }

  protected override createRenderRoot(): HTMLElement {
    return this
  }

  override connectedCallback(): void {
    super.connectedCallback()
    document.addEventListener('visibilitychange', this.#onVisible)
    window.addEventListener('focus', this.#onVisible)
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback()
    document.removeEventListener('visibilitychange', this.#onVisible)
    window.removeEventListener('focus', this.#onVisible)
    this.#observer?.disconnect()
    this.#resized.disconnect()
  }

  /** What the person just sent is looked at. */
  follow(): void {
    this.#following = true
    this.#window = NEWEST
    this.requestUpdate()
  }

  /** Moves the focus into the messages, to the newest. */
  focusNewest(): void {
    this.#rows().at(-1)?.focus()
  }

  get #log(): HTMLElement | null {
    return this.querySelector<HTMLElement>('.log')
  }

  #rows(): HTMLElement[] {
    return [...this.querySelectorAll<HTMLElement>('.message-row')]
  }

  protected override willUpdate(): void {
    if (this.#shown !== this.conversation) this.#begin()
    this.#anchor = this.#following ? null : this.#firstVisible()
    const { conversation } = this
    if (!this.#placed && conversation.phase === 'ready') {
      const { readN, unread } = conversation
      this.#newAfter = unread > 0 ? readN : null
      this.#seenN = readN
    }
    this.#items = logItems({
      entries: conversation.entries,
      outgoing: conversation.sender.items,
      restarts: conversation.restarts,
      ownSide: conversation.side,
      deliveredN: conversation.deliveredN,
      peerReadN: conversation.peerReadN,
      lateSince: conversation.lateSince,
      earlierThanVisit: conversation.earlierThanVisit,
      newAfter: this.#newAfter,
      now: Date.now(),
    })
    this.#keys = this.#items.map(({ key }) => key)
    this.#range = rangeOf(this.#keys, this.#window, MAX_ROWS)
  }

  #begin(): void {
    this.#shown = this.conversation
    this.#newAfter = null
    this.#window = NEWEST
    this.#following = true
    this.#placed = false
    this.#focusKey = null
  }

  protected override updated(): void {
    const log = this.#log
    if (log === null) return
    if (!this.#placed && this.conversation.phase === 'ready') {
      this.#placed = true
      this.#place(log)
    } else if (this.#following) log.scrollTop = log.scrollHeight
    else this.#restore(log)
    this.#observe(log)
    this.#noteRead()
  }

  /** Opens at the first unread message, or at the newest. */
  #place(log: HTMLElement): void {
    const divider = this.querySelector<HTMLElement>('.divider-new')
    if (divider === null) log.scrollTop = log.scrollHeight
    else divider.scrollIntoView({ block: 'start' })
    this.#following = this.#isNearEnd(log)
  }

  #firstVisible(): Anchor | null {
    const log = this.#log
    if (log === null) return null
    const { top } = log.getBoundingClientRect()
    const element = [...this.querySelectorAll<HTMLElement>('.message-row')].find(
      (row) => row.getBoundingClientRect().bottom > top,
    )
    return element === undefined ? null : { element, top: element.getBoundingClientRect().top }
  }

  #restore(log: HTMLElement): void {
    if (this.#anchor?.element.isConnected !== true) return
    log.scrollTop += this.#anchor.element.getBoundingClientRect().top - this.#anchor.top
  }

  /** A window that shrinks, or a keyboard that opens, must not take the newest message away. */
  #fit(): void {
    const log = this.#log
    if (log === null) return
    this.#size = sizeOf(log)
    if (this.#following && this.#placed) log.scrollTop = log.scrollHeight
  }

  #isNearEnd(log: HTMLElement): boolean {
    return this.#range.to === this.#keys.length && isNearBottom(log)
  }

  #observe(log: HTMLElement): void {
    this.#resized.observe(log)
    this.#observer?.disconnect()
    const button = this.querySelector('.log-earlier')
    if (button === null || this.conversation.isLoadingEarlier || !this.#placed) return
    this.#observer = new IntersectionObserver(
      (seen) => {
        if (seen.some(({ isIntersecting }) => isIntersecting)) void this.conversation.loadEarlier()
      },
      { root: log, rootMargin: '160px 0px 0px' },
    )
    this.#observer.observe(button)
  }

  #scrolled(log: HTMLElement): void {
    if (sizeOf(log) !== this.#size) return
    const following = this.#isNearEnd(log)
    if (following !== this.#following) {
      this.#following = following
      this.#window = following ? NEWEST : holdStill(this.#keys, this.#range)
      this.requestUpdate()
    }
    if (following) this.#noteRead()
    else this.#slide(log)
  }

  /** Near an end of the rows in the page, the next ones come in and the far ones go. */
  #slide(log: HTMLElement): void {
    const { from, to } = this.#range
    if (from > 0 && log.scrollTop <= NEAR_TOP_PX) this.#window = movedUp(this.#keys, this.#range, STEP_ROWS)
    else if (to < this.#keys.length && isNearBottom(log))
      this.#window = movedDown(this.#keys, this.#range, STEP_ROWS)
    else return
    this.requestUpdate()
  }

  /** Read is what was on a page that somebody looks at. */
  #noteRead(): void {
    if (!this.#placed || !this.#following || document.visibilityState !== 'visible' || !document.hasFocus())
      return
    this.#seenN = Math.max(this.#seenN, this.conversation.entries.at(-1)?.n ?? 0)
    this.conversation.markRead()
  }

  #unseen(): number {
    const { entries, side } = this.conversation
    return entries.filter((entry) => entry.n > this.#seenN && entry.side !== side).length
  }

  protected override render(): TemplateResult {
    const { conversation } = this
    const name = shownName(conversation.summary.peer)
    const unseen = this.#unseen()
    return html`<section
        class="log"
        role="log"
        aria-label="Messages with ${name}"
        aria-live="off"
        tabindex="0"
        @scroll=${(event: Event) => {
          this.#scrolled(event.currentTarget as HTMLElement)
        }}
        @keydown=${(event: KeyboardEvent) => {
          this.#key(event)
        }}
        @focusin=${(event: FocusEvent) => {
          this.#focused(event)
        }}
      >
        ${this.#top(name)}
        <p class="log-opening">
          You are talking to <bdi>${name}</bdi>. Messages are end-to-end encrypted; the server cannot read
          them.
        </p>
        <ol class="log-list">
          ${repeat(
            this.#items.slice(this.#range.from, this.#range.to),
            ({ key }) => key,
            (item) => this.#line(item, name),
          )}
        </ol>
      </section>
      ${
        this.#following
          ? nothing
          : html`<button
              class="jump"
              type="button"
              @click=${() => {
                this.follow()
                this.#log?.focus()
              }}
            >
              ${unseen > 0 ? html`↓ ${unseen} new` : html`↓ <span class="visually-hidden">To the </span>newest`}
            </button>`
      }`
  }

  #top(name: string): TemplateResult {
    const { conversation } = this
    if (
      conversation.phase !== 'ready' &&
      conversation.alarm === null &&
      conversation.phase !== 'no_peer_keys'
    )
      return html`<div class="log-top"><p class="muted" role="status">Decrypting…</p></div>`
    if (this.#range.from > 0) return html``
    if (conversation.hasEarlier)
      return html`<div class="log-top">
        <button
          class="button button-small log-earlier"
          type="button"
          aria-disabled=${conversation.isLoadingEarlier ? 'true' : 'false'}
          @click=${() => void conversation.loadEarlier()}
        >
          ${conversation.isLoadingEarlier ? 'Loading earlier messages…' : 'Load earlier messages'}
        </button>
      </div>`
    if (conversation.phase !== 'ready') return html``
    return html`<div class="log-top">
      ${
        conversation.entries.length === 0
          ? this.#hello()
          : html`<p class="muted small">Beginning of your conversation with <bdi>${name}</bdi></p>`
      }
    </div>`
  }

  #hello(): TemplateResult {
    if (this.conversation.trust === 'verified') return html`<p class="muted small">Say hello.</p>`
    return html`<p class="muted small">
      Say hello. ${this.#compareButton('Compare safety numbers')} when you meet.
    </p>`
  }

  #compareButton(label: string): TemplateResult {
    return html`<button
      class="link-button"
      type="button"
      @click=${() => {
        this.dispatchEvent(new CustomEvent('compare-wanted', { bubbles: true }))
      }}
    >
      ${label}
    </button>`
  }

  #line(item: LogItem, name: string): TemplateResult {
    switch (item.kind) {
      case 'day':
        return html`<li class="divider divider-day" data-key=${item.key}><span>${item.text}</span></li>`
      case 'new':
        return html`<li class="divider divider-new" data-key=${item.key}><span>New messages</span></li>`
      case 'restart':
        return html`<li class="log-note" data-key=${item.key} dir="auto">
          ${restartWords(item.own, name, item.at, Date.now())}
          ${item.own || this.conversation.trust === 'verified' ? nothing : this.#compareButton('Compare')}
        </li>`
      case 'lost':
        return html`<li class="log-note" data-key=${item.key}>${lostWords(item.count)}</li>`
      case 'alarm':
        return this.#alarm(item, name)
      case 'message':
        return this.#message(item, name)
    }
  }

  #alarm(item: Extract<LogItem, { kind: 'alarm' }>, name: string): TemplateResult {
    const text = alarmText(item.code, name)
    return html`<li
      class="message-row message-first message-last message-broken ${item.own ? 'message-own' : 'message-peer'}"
      data-key=${item.key}
      tabindex=${this.#tabIndexOf(item.key)}
    >
      <div class="bubble">
        <strong>${text.title}.</strong> ${text.sentence}
        <button
          class="link-button"
          type="button"
          @click=${() => {
            this.dispatchEvent(new CustomEvent('alarm-action', { detail: text.action.kind, bubbles: true }))
          }}
        >
          ${text.action.label}
        </button>
      </div>
    </li>`
  }

  #message(item: MessageItem, name: string): TemplateResult {
    const classes = [
      'message-row',
      item.own ? 'message-own' : 'message-peer',
      item.first ? 'message-first' : '',
      item.last ? 'message-last' : '',
      item.earlier ? 'message-earlier' : '',
    ]
    return html`<li
      class=${classes.filter((one) => one !== '').join(' ')}
      data-key=${item.key}
      data-n=${item.n ?? nothing}
      data-status=${item.status ?? nothing}
      tabindex=${this.#tabIndexOf(item.key)}
    >
      <span class="visually-hidden">${item.own ? 'You' : name}:</span>
      <span class="bubble" dir="auto">${bubbleText(item.text)}</span>
      <div class="message-foot">
        <time datetime=${isoTime(item.time)}>${clockTime(item.time)}</time>
        ${item.status === null ? nothing : status(item.status, item)} ${this.#reportButton(item)}
      </div>
      ${
        item.lateSince === null
          ? nothing
          : html`<p class="message-late">
              Not confirmed by <bdi>${name}</bdi>'s browser yet, though they were online since
              ${clockTime(item.lateSince)}
            </p>`
      }
      ${item.failure === null ? nothing : this.#failed(item, item.failure)}
    </li>`
  }

  /** Seen where somebody looks at the message, and tabbed to from it. */
  #reportButton(item: MessageItem): TemplateResult | typeof nothing {
    if (item.own || item.n === null) return nothing
    return html`<button
      class="link-button message-report"
      type="button"
      tabindex=${this.#tabIndexOf(item.key)}
      @click=${() => {
        this.dispatchEvent(new CustomEvent('report-wanted', { detail: item.n, bubbles: true }))
      }}
    >
      Report…
    </button>`
  }

  #failed(item: MessageItem, failure: string): TemplateResult {
    const { sender } = this.conversation
    return html`<div class="message-actions" role="group" aria-label="Not sent">
      <span class="small">${failure}</span>
      <button
        class="button button-small"
        type="button"
        @click=${(event: Event) => {
          // The button goes with the failure; the message stays.
          ;(event.currentTarget as HTMLElement).closest<HTMLElement>('.message-row')?.focus()
          // Drawn now: one that is refused again before the next frame would look as if nothing was done.
          void sender.retry(item.clientId).then(() => this.closest<LitElement>('chat-app')?.requestUpdate())
        }}
      >
        Retry
      </button>
      <button class="button button-small" type="button" @click=${() => void this.#remove(item)}>
        Delete
      </button>
    </div>`
  }

  async #remove(item: MessageItem): Promise<void> {
    const keys = this.#rows().map((row) => row.dataset['key'])
    const at = keys.indexOf(item.key)
    await this.conversation.sender.remove(item.clientId)
    this.requestUpdate()
    await this.updateComplete
    const rows = this.#rows()
    const next = rows[Math.min(at, rows.length - 1)] ?? this.#log
    next?.focus()
  }

  // Keys: one message can be tabbed to, arrows go between them

  #tabIndexOf(key: string): number {
    return key === this.#focusKey ? 0 : -1
  }

  #focused(event: FocusEvent): void {
    const row = (event.target as HTMLElement).closest<HTMLElement>('.message-row')
    const key = row?.dataset['key'] ?? null
    if (key === null || key === this.#focusKey) return
    this.#focusKey = key
    this.requestUpdate()
  }

  #key(event: KeyboardEvent): void {
    if (event.altKey || event.ctrlKey || event.metaKey) return
    const rows = this.#rows()
    const current = rows.findIndex((row) => row.contains(document.activeElement))
    const target = targetOf(event.key, current, rows.length)
    const row = target === null ? undefined : rows[target]
    if (row === undefined) return
    event.preventDefault()
    row.focus()
  }
}

function isNearBottom(log: HTMLElement): boolean {
  return log.scrollHeight - log.scrollTop - log.clientHeight <= NEAR_END_PX
}

function sizeOf(log: HTMLElement): string {
  return `${log.clientWidth} ${log.clientHeight}`
}

/** Which of `count` rows the key goes to from `current` (-1: the log itself), or null when it is no key for this. */
export function targetOf(key: string, current: number, count: number): number | null {
  switch (key) {
    case 'ArrowUp':
      return current === -1 ? count - 1 : Math.max(0, current - 1)
    case 'ArrowDown':
      return current === -1 ? count - 1 : Math.min(count - 1, current + 1)
    case 'Home':
      return 0
    case 'End':
      return count - 1
    default:
      return null
  }
}

function bubbleText(text: string): TemplateResult | (TemplateResult | string)[] {
  return INVISIBLE.test(text) ? html`<em>No visible text</em>` : textParts(text).map(textPart)
}

/** Text nodes only, and no white space around them: a bubble shows it. */
function textPart(part: TextPart): TemplateResult | string {
  if (part.kind === 'text') return part.text
  return html`<a
    href=${part.href}
    dir="ltr"
    target="_blank"
    rel="noopener noreferrer"
    referrerpolicy="no-referrer"
    >${part.text}</a
  >`
}

/** A word at the newest message of one's own and at those that were not sent; elsewhere the shape shows it, and a reader hears the words. */
function status(value: Status, { time, isNewestOwn, lateSince }: MessageItem): TemplateResult {
  const words = statusWords(value)
  return html`<span class="status" data-status=${value} data-late=${lateSince === null ? nothing : 'true'}
    ><span class=${isNewestOwn || value === 'failed' ? 'status-word' : 'visually-hidden'}>${words}</span
    >${value === 'sent' ? html`<span class="visually-hidden"> ${clockTime(time)}</span>` : nothing}</span
  >`
}

function statusWords(value: Status): string {
  switch (value) {
    case 'waiting':
      return 'Waiting to be sent'
    case 'sent':
      return 'Sent'
    case 'delivered':
      return 'Delivered'
    case 'read':
      return 'Read'
    case 'failed':
      return 'Not sent'
  }
}

customElements.define('chat-log', ChatLog)
