/** The chat page: the list, the room, the banners, and a voice for those who listen instead of look. */
import { html, LitElement, nothing, type PropertyDeclarations, type TemplateResult } from 'lit'
import { repeat } from 'lit/directives/repeat.js'
import type { Conversation } from '../chat/conversation'
import type { Arrival, ChatSession } from '../chat/session'
import { Announcer } from './announcer'
import { type Banner, type BannerAction, bannersOf, needsClock, type Offer } from './banners'
import type { ChatComposer } from './chat_composer'
import './chat_composer'
import type { ChatLog } from './chat_log'
import './chat_log'
import { showUnread } from './nav_badges'
import type { ConversationDetails } from './conversation_details'
import { avatarHue, initials, presenceState, presenceWord, shownName } from './person'
import { lockWords } from './safety_words'
import { isoTime, listTime } from './times'

const HIDDEN_DRAW_MS = 250
/** For what time alone changes: a message that stays unconfirmed, the clock of the list. */
const SLOW_CLOCK_MS = 10_000
/** Where the details lie over the room instead of beside it; chat.css says the same. */
const OVERLAY = '(width < 56.25rem)'
/** Enough of a message for one line of the list. */
const LAST_LINE_CHARACTERS = 200
const DETAILS_FAILED: Banner = {
  key: 'details',
  kind: 'warning',
  text: 'The details could not be loaded. Are you online?',
  offers: [{ kind: 'compare', label: 'Try again' }],
}
const COMPARE: Offer = { kind: 'compare', label: 'Compare' }
const GONE = 'This account no longer exists.'
const ENDED = 'You can no longer send messages in this conversation.'

export interface ChatPlaces {
  /** The list of chats. */
  readonly list: string
  readonly addFriend: string
  readonly browsers: string
  room(conversation: string): string
}

export interface ReportLimits {
  /** Where the person sees what came of one's own reports. */
  readonly page: string
  readonly maxMessages: number
  readonly maxNoteCharacters: number
  /** Of what is disclosed, together. */
  readonly maxBytes: number
}

export class ChatApp extends LitElement {
  static override properties: PropertyDeclarations = {
    session: { attribute: false },
    places: { attribute: false },
    limit: { attribute: false },
    enterSends: { attribute: false },
    siteName: { attribute: false },
    announced: { state: true },
    details: { state: true },
  }

  declare session: ChatSession
  declare places: ChatPlaces
  /** Characters of a message. */
  declare limit: number
  declare enterSends: boolean
  declare siteName: string
  declare reports: ReportLimits
  declare announced: string
  /** The drawer beside the room. `loading`: its script is on its way. */
  declare details: 'closed' | 'loading' | 'open' | 'failed'
  /** Does what a banner offers; the page knows how. */
  declare onAction: (action: BannerAction) => void

  /** Who opened the drawer, to have the focus back. */
  #opener: HTMLElement | null = null
  readonly #overlay = matchMedia(OVERLAY)
  #tick = 0
  #drawing = false
  #order: readonly string[] | null = null
  #clock: ReturnType<typeof setInterval> | null = null
  #quiet: (() => void)[] = []
  readonly #toldFailures = new Set<string>()
  readonly #announcer = new Announcer((text) => {
    // The same once more is another text, or nobody would hear it.
    this.announced = this.announced === text ? `${text}\u00a0` : text
  })

  constructor() {
    super()
    this.announced = ''
    this.details = 'closed'
  }

  protected override createRenderRoot(): HTMLElement {
    return this
  }

  override connectedCallback(): void {
    super.connectedCallback()
    const keys = (event: KeyboardEvent): void => {
      this.#key(event)
    }
    const back = (): void => {
      this.#wentTo(location.pathname)
    }
    const redraw = (): void => {
      this.requestUpdate()
    }
    const slowly = setInterval(redraw, SLOW_CLOCK_MS)
    this.#overlay.addEventListener('change', redraw)
    document.addEventListener('keydown', keys)
    window.addEventListener('popstate', back)
    this.#quiet = [
      this.session.onChange(() => {
        this.#drawSoon()
      }),
      this.session.onArrival((arrival) => {
        this.#arrived(arrival)
      }),
      () => {
        clearInterval(slowly)
        this.#overlay.removeEventListener('change', redraw)
      },
      () => {
        document.removeEventListener('keydown', keys)
      },
      () => {
        window.removeEventListener('popstate', back)
      },
    ]
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback()
    for (const stop of this.#quiet) stop()
    if (this.#clock !== null) clearInterval(this.#clock)
    this.#clock = null
  }

  /** Once for each frame, however much changed; a page that nobody sees is drawn less often. */
  #drawSoon(): void {
    if (this.#drawing) return
    this.#drawing = true
    const draw = (): void => {
      this.#drawing = false
      this.requestUpdate()
    }
    if (document.visibilityState === 'visible') requestAnimationFrame(draw)
    else setTimeout(draw, HIDDEN_DRAW_MS)
  }

  protected override willUpdate(): void {
    this.#tick += 1
    this.#tellFailures()
    const ticking = needsClock(this.session, this.session.selected)
    if (ticking)
      this.#clock ??= setInterval(() => {
        this.requestUpdate()
      }, 500)
    else if (this.#clock !== null) {
      clearInterval(this.#clock)
      this.#clock = null
    }
  }

  protected override updated(): void {
    const unread = this.session.conversations.filter((conversation) => conversation.unread > 0).length
    showUnread(document, unread)
    const { selected } = this.session
    const name = selected === null ? 'Chats' : shownName(selected.summary.peer)
    document.title = `${unread > 0 ? `(${unread}) ` : ''}${name} · ${this.siteName}`
  }

  // Going from chat to chat

  #open(id: string | null): void {
    const place = id === null ? this.places.list : this.places.room(id)
    if (location.pathname !== place) history.pushState(null, '', place)
    this.session.select(id)
    this.#moved(id)
    void this.updateComplete.then(() => {
      this.#focusRoom(id)
    })
  }

  #wentTo(path: string): void {
    const found = this.session.conversations.find(({ id }) => this.places.room(id) === path)
    this.session.select(found?.id ?? null)
    this.#moved(found?.id ?? null)
    void this.updateComplete.then(() => {
      this.#focusRoom(found?.id ?? null)
    })
  }

  /** Beside a room the details stay and show the next one's; over it they would hide what was asked for. */
  #moved(id: string | null): void {
    this.#opener = null
    if (id === null || this.#overlay.matches) this.details = 'closed'
  }

  // The drawer

  async #openDetails(opener: HTMLElement | null): Promise<void> {
    this.#opener = opener
    if (this.details !== 'open') this.details = 'loading'
    try {
      await import('./conversation_details')
    } catch {
      this.details = 'failed'
      return
    }
    this.details = 'open'
    await this.updateComplete
    const drawer = this.#drawer
    await drawer?.updateComplete
    drawer?.focusHeading()
  }

  #closeDetails(): void {
    const opener = this.#opener
    this.details = 'closed'
    this.#opener = null
    void this.updateComplete.then(() => {
      const place = opener?.isConnected === true ? opener : this.querySelector<HTMLElement>('.lock')
      place?.focus()
    })
  }

  /** About a message of the friend, or, without one, about the person. */
  async #report(n: number | null): Promise<void> {
    const { session, reports: limits } = this
    const conversation = session.selected
    if (conversation === null) return
    try {
      const { openReport } = await import('./report_dialog')
      openReport(this, { session, conversation, n, limits })
    } catch {
      this.#announcer.tell('The report could not be loaded. Are you online?')
    }
  }

  get #drawer(): ConversationDetails | null {
    return this.querySelector('conversation-details')
  }

  get #isOverlaid(): boolean {
    return this.details === 'open' && this.#overlay.matches && this.session.selected !== null
  }

  /** The composer on a desktop; on touch the heading, so that no keyboard jumps up. */
  #focusRoom(id: string | null): void {
    const touch = matchMedia('(pointer: coarse)').matches
    if (id === null) this.querySelector<HTMLElement>('.chat-title')?.focus()
    else if (touch || this.#composer === null) this.querySelector<HTMLElement>('.room-name')?.focus()
    else this.#composer.focusText()
  }

  get #composer(): ChatComposer | null {
    return this.querySelector<ChatComposer>('chat-composer')
  }

  #key(event: KeyboardEvent): void {
    const inDrawer = this.#drawer?.contains(document.activeElement) === true
    if (event.key === 'Escape' && !event.defaultPrevented && (inDrawer || this.#isOverlaid)) {
      event.preventDefault()
      this.#closeDetails()
      return
    }
    if (event.key === 'Escape' && this.querySelector('chat-log')?.contains(document.activeElement) === true) {
      event.preventDefault()
      this.#composer?.focusText()
    }
    if (!event.altKey || event.ctrlKey || event.metaKey) return
    if (event.key !== 'ArrowUp' && event.key !== 'ArrowDown') return
    event.preventDefault()
    const rooms = this.#ordered()
    const at = rooms.findIndex(({ id }) => id === this.session.selectedId)
    const step = event.key === 'ArrowUp' ? -1 : 1
    const candidates = event.shiftKey
      ? rooms.filter(({ unread }, index) => unread > 0 && index !== at)
      : rooms
    const from = event.shiftKey ? (step === 1 ? -1 : candidates.length) : at
    const next = candidates[from + step]
    if (next !== undefined) this.#open(next.id)
  }

  #arrived({ conversation, entries }: Arrival): void {
    const peer = shownName(conversation.summary.peer)
    for (const { side, shown } of entries)
      if (side !== conversation.side && shown.kind === 'text') this.#announcer.say(peer, shown.text)
  }

  /** What was refused for good is said once, wherever the person is. */
  #tellFailures(): void {
    for (const { summary, sender } of this.session.conversations)
      for (const { clientId, failure } of sender.items)
        if (failure === null) this.#toldFailures.delete(clientId)
        else if (!this.#toldFailures.has(clientId)) {
          this.#toldFailures.add(clientId)
          this.#announcer.tell(`Not sent to ${shownName(summary.peer)}: ${failure}`)
        }
  }

  /** Under the pointer nothing jumps: the order waits until it has left the list. */
  #ordered(): readonly Conversation[] {
    const rooms = this.session.conversations
    const order = this.#order
    if (order === null) return rooms
    const place = (room: Conversation): number => {
      const index = order.indexOf(room.id)
      return index === -1 ? -1 : index
    }
    return [...rooms].sort((one, other) => place(one) - place(other))
  }

  /** Without a connection nobody knows who is online. */
  get #isConnected(): boolean {
    const { kind } = this.session.connection.state
    return kind === 'open' || kind === 'connecting'
  }

  // What is seen

  protected override render(): TemplateResult {
    const { selected, selectedId } = this.session
    const isOpen = selected !== null && this.details === 'open'
    return html`<div
      class="chat-app"
      data-pane=${selectedId === null ? 'list' : 'room'}
      data-details=${isOpen ? 'open' : 'closed'}
      @compare-wanted=${(event: Event) => {
        void this.#openDetails(event.target instanceof HTMLElement ? event.target : null)
      }}
      @report-wanted=${(event: CustomEvent<number | null>) => {
        void this.#report(event.detail)
      }}
    >
      ${this.#sidebar()} ${selected === null ? this.#blank(selectedId) : this.#room(selected)}
      ${
        isOpen
          ? html`<conversation-details
              .conversation=${selected}
              .session=${this.session}
              .tick=${this.#tick}
              @details-close=${() => {
                this.#closeDetails()
              }}
            ></conversation-details>`
          : nothing
      }
      <p class="visually-hidden" role="status" aria-live="polite">${this.announced}</p>
    </div>`
  }

  #sidebar(): TemplateResult {
    const rooms = this.#ordered()
    return html`<nav class="chat-sidebar" aria-label="Chats" ?inert=${this.#isOverlaid}>
      <div class="chat-sidebar-head">
        ${this.#listHeading()}
        <a class="icon-button" href=${this.places.addFriend} aria-label="Add friend"
          ><span class="icon icon-add-person" aria-hidden="true"></span
        ></a>
      </div>
      ${this.session.selectedId === null ? this.#banners(null) : nothing}
      ${
        rooms.length > 0
          ? html`<ol
              class="chat-list"
              @pointerenter=${() => {
                this.#order = rooms.map(({ id }) => id)
              }}
              @pointerleave=${() => {
                this.#order = null
                this.requestUpdate()
              }}
            >
              ${repeat(
                rooms,
                ({ id }) => id,
                (room) => html`<li>${this.#row(room)}</li>`,
              )}
            </ol>`
          : this.#noRooms()
      }
    </nav>`
  }

  /** The page's first heading is what fills it: the room on a phone, so the list's steps down beside a room. */
  #listHeading(): TemplateResult {
    return this.session.selected === null
      ? html`<h1 class="chat-title" tabindex="-1">Chats</h1>`
      : html`<h2 class="chat-title" tabindex="-1">Chats</h2>`
  }

  #noRooms(): TemplateResult {
    if (!this.session.isListed) return html`<div class="empty"><p role="status">Loading your chats…</p></div>`
    return html`<div class="empty">
      <p class="empty-title">No friends yet.</p>
      <p>Add someone by username.</p>
      <a class="button button-primary" href=${this.places.addFriend}>Add friend</a>
    </div>`
  }

  #row(room: Conversation): TemplateResult {
    const { activeAt, lastN } = room.summary
    const peer = shownName(room.summary.peer)
    const online = this.#isConnected ? room.summary.online : null
    const isCurrent = room.id === this.session.selectedId
    return html`<a
      class="chat-row"
      href=${this.places.room(room.id)}
      aria-current=${isCurrent ? 'page' : nothing}
      @click=${(event: MouseEvent) => {
        if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return
        event.preventDefault()
        this.#open(room.id)
      }}
    >
      ${avatar(peer, online)}
      <span class="chat-row-name"
        ><bdi>${peer}</bdi>${
          room.isVerified
            ? html` <span class="icon icon-shield verified-mark" aria-hidden="true"></span
                ><span class="visually-hidden"> Verified</span>`
            : nothing
        }</span
      >
      ${
        lastN === 0
          ? nothing
          : html`<time class="chat-row-time" datetime=${isoTime(activeAt)}
              >${listTime(activeAt, Date.now())}</time
            >`
      }
      <span class="chat-row-last">${this.#lastLine(room, isCurrent)}</span>
      ${
        room.unread === 0
          ? nothing
          : html`<span class="badge badge-count"
              >${room.unread}<span class="visually-hidden"> unread</span></span
            >`
      }
      <span class="visually-hidden">${presenceWord(online)}</span>
    </a>`
  }

  #lastLine(room: Conversation, isCurrent: boolean): TemplateResult | string {
    const failed = room.sender.items.find(({ failure }) => failure !== null)
    if (failed !== undefined)
      return html`<b class="chat-row-failed">Not sent:</b> ${oneLine(failed.content.text)}`
    const draft = this.session.drafts.of(room.id).trim()
    if (draft !== '' && !isCurrent) return html`<b class="chat-row-draft">Draft:</b> ${oneLine(draft)}`
    const waiting = room.sender.items.at(-1)
    if (waiting !== undefined) return html`You: ${oneLine(waiting.content.text)}`
    const last = room.entries.findLast(({ shown }) => shown.kind !== 'repeat')
    if (last !== undefined) {
      const { shown } = last
      if (shown.kind === 'lost') return 'From before you started over'
      if (shown.kind !== 'text') return 'Message not shown'
      return last.side === room.side ? html`You: ${oneLine(shown.text)}` : oneLine(shown.text)
    }
    if (room.summary.peerDeleted) return GONE
    if (!room.summary.peerHasKeys && room.summary.open) return 'No encryption yet'
    return room.summary.lastN > 0 ? 'Encrypted message' : 'No messages yet'
  }

  #blank(selectedId: string | null): TemplateResult {
    const text =
      selectedId !== null && !this.session.isListed ? 'Loading your chat…' : 'Choose a friend to start.'
    return html`<div class="chat-blank empty">
      ${selectedId === null ? nothing : this.#banners(null)}
      <p>${text}</p>
    </div>`
  }

  #room(room: Conversation): TemplateResult {
    const { open } = room.summary
    const peer = shownName(room.summary.peer)
    const online = this.#isConnected ? room.summary.online : null
    const presence = online === false ? 'Offline – messages will wait' : presenceWord(online)
    return html`<section class="chat-room" aria-labelledby="room-name" ?inert=${this.#isOverlaid}>
      <header class="room-header">
        ${this.#leaveLink('icon-button only-narrow', html`<span class="icon icon-back" aria-hidden="true"></span>`, 'Back to chats')}
        ${avatar(peer)}
        <div class="room-heading">
          <h1 class="room-name" id="room-name" tabindex="-1"><bdi>${peer}</bdi></h1>
          ${
            open && !room.summary.peerDeleted
              ? html`<span class="presence" data-state=${presenceState(online)}>${presence}</span>`
              : html`<span class="presence" data-state="unknown">Not connected with you</span>`
          }
        </div>
        ${this.#lock(room)} ${this.#leaveLink('button button-small only-wide', 'Leave room')}
      </header>
      ${this.#banners(room)}
      <chat-log
        .conversation=${room}
        .tick=${this.#tick}
        @alarm-action=${(event: CustomEvent<BannerAction>) => {
          this.#act({ kind: event.detail, label: '' }, null)
        }}
      ></chat-log>
      ${this.#composerOf(room)}
    </section>`
  }

  #leaveLink(classes: string, content: TemplateResult | string, label?: string): TemplateResult {
    return html`<a
      class=${classes}
      href=${this.places.list}
      aria-label=${label ?? nothing}
      @click=${(event: MouseEvent) => {
        event.preventDefault()
        this.#open(null)
      }}
      >${content}</a
    >`
  }

  #lock(room: Conversation): TemplateResult {
    if (room.phase === 'no_peer_keys') return html``
    const { state, text } = lockWords(room.trust, room.alarm !== null)
    const isOpen = this.details === 'open'
    return html`<button
      class="lock"
      type="button"
      data-state=${state}
      aria-expanded=${isOpen ? 'true' : 'false'}
      aria-controls="conversation-details"
      @click=${(event: Event) => {
        if (isOpen) this.#closeDetails()
        else void this.#openDetails(event.currentTarget as HTMLElement)
      }}
    >
      ${text}<span class="visually-hidden">. Conversation details</span>
    </button>`
  }

  #banners(room: Conversation | null): TemplateResult {
    const banners = bannersOf(this.session, room, Date.now())
    if (this.details === 'failed') banners.push(DETAILS_FAILED)
    const line = (banner: Banner): TemplateResult => this.#banner(banner)
    const alarms = banners.filter(({ kind }) => kind === 'alarm')
    const others = banners.filter(({ kind }) => kind !== 'alarm')
    return html`<div class="banners" role="alert">${repeat(alarms, ({ key }) => key, line)}</div>
      <div class="banners" role="status">${repeat(others, ({ key }) => key, line)}</div>`
  }

  #banner({ kind, text, spoken, offers }: Banner): TemplateResult {
    return html`<div class="banner banner-${kind}">
      ${
        spoken === undefined
          ? html`<p>${text}</p>`
          : html`<p><span aria-hidden="true">${text}</span><span class="visually-hidden">${spoken}</span></p>`
      }
      ${
        offers === undefined
          ? nothing
          : html`<div class="banner-actions">
              ${offers.map((offer) => this.#offer(offer, 'button-small'))}
            </div>`
      }
    </div>`
  }

  #offer(offer: Offer, classes: string): TemplateResult {
    if (offer.kind === 'see_browsers')
      return html`<a class="button ${classes}" href=${this.places.browsers}>${offer.label}</a>`
    return html`<button
      class="button ${classes}"
      type="button"
      @click=${(event: Event) => {
        this.#act(offer, event.currentTarget as HTMLElement)
      }}
    >
      ${offer.label}
    </button>`
  }

  #act(offer: Offer, button: HTMLElement | null): void {
    const room = this.session.selected
    switch (offer.kind) {
      case 'retry_now':
        this.session.retryNow()
        break
      case 'ask_again':
        room?.askAgain()
        this.querySelector<HTMLElement>('.log')?.focus()
        break
      case 'compare':
        void this.#openDetails(button)
        break
      case 'send_waiting':
        void room?.sendWaiting().then(() => {
          this.#focusComposerSoon()
        })
        break
      case 'send_anyway':
        void room?.sendAnywayOnce().then(() => {
          this.#focusComposerSoon()
        })
        break
      case 'it_was_me':
        void this.session.dismissSignIn(offer.subject ?? '').then(() => {
          this.#focusComposerSoon()
        })
        break
      case 'see_browsers':
        // A link, which goes there by itself.
        break
      case 'reload':
      case 'sign_in':
        this.onAction(offer.kind)
    }
  }

  /** What was pressed goes away with what it said. */
  #focusComposerSoon(): void {
    void this.updateComplete.then(() => {
      if (document.activeElement === document.body) this.#focusRoom(this.session.selectedId)
    })
  }

  #composerOf(room: Conversation): TemplateResult {
    const peer = shownName(room.summary.peer)
    if (room.summary.peerDeleted) return html`<div class="composer-closed"><p>${GONE}</p></div>`
    if (!room.summary.open) return html`<div class="composer-closed"><p>${ENDED}</p></div>`
    if (room.phase === 'no_peer_keys')
      return html`<div class="composer-closed"><p>${peer} has not set up encryption yet.</p></div>`
    if (room.alarm !== null)
      return html`<div class="composer-closed"><p>Nothing is sent until this is settled.</p></div>`
    if (room.trust === 'changed')
      return this.#composerClosed(`${peer}'s safety number changed. Compare before you send.`, [
        COMPARE,
        { kind: 'send_anyway', label: 'Send anyway once' },
      ])
    if (room.trust === 'mismatch')
      return this.#composerClosed(`The safety numbers do not match, so nothing is sent to ${peer}.`, [
        COMPARE,
      ])
    return html`<chat-composer
      .conversation=${room}
      .drafts=${this.session.drafts}
      .limit=${this.limit}
      .enterSends=${this.enterSends}
      @message-written=${() => {
        this.querySelector<ChatLog>('chat-log')?.follow()
      }}
    ></chat-composer>`
  }

  #composerClosed(text: string, offers: readonly Offer[]): TemplateResult {
    return html`<div class="composer-closed composer-warning">
      <p>${text}</p>
      <div class="button-row">
        ${offers.map((offer, index) => this.#offer(offer, index === 0 ? 'button-primary' : ''))}
      </div>
    </div>`
  }
}

/** Isolated from what stands beside it, and no longer than a line can be. */
function oneLine(text: string): TemplateResult {
  return html`<bdi>${text.slice(0, LAST_LINE_CHARACTERS)}</bdi>`
}

customElements.define('chat-app', ChatApp)

declare global {
  interface HTMLElementTagNameMap {
    'chat-app': ChatApp
  }
}

function avatar(name: string, online?: boolean | null): TemplateResult {
  const dot =
    online === undefined
      ? null
      : html`<span class="avatar-presence" data-state=${presenceState(online)}></span>`
  return html`<span class="avatar avatar-hue-${avatarHue(name)}" aria-hidden="true"
    >${initials(shownName(name))}${dot}</span
  >`
}
