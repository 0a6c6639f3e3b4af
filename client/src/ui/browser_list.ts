/** The list of a person's browsers, as nodes. */
import type { Browsers, KnownBrowser } from '../chat/browsers'
import type { ChainDevice } from '../crypto/key_chain'
import type { BrowserSession } from '../wire/api'
import { toHex } from '../wire/bytes'

export interface BrowserActions {
  readonly canRevoke: boolean
  readonly revoke: (browser: KnownBrowser, label: string) => void
  readonly end: (session: string, label: string) => void
}

const UNKNOWN = 'Unknown browser'
const DOUBT =
  'These log-ins say that they are this browser, as the server noted. Sign out each that is not yours.'
const DATE_AND_TIME = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' })

function dateAndTime(time: number): string {
  return DATE_AND_TIME.format(time)
}

export function showBrowsers(place: HTMLElement, browsers: Browsers, actions: BrowserActions): void {
  const list = document.createElement('ul')
  list.className = 'browsers people'
  list.append(...browsers.standing.map((browser) => row(browser, actions)))
  place.replaceChildren(list)
  if (browsers.ended.length > 0) place.append(endedList(browsers.ended))
}

function row(browser: KnownBrowser, actions: BrowserActions): HTMLLIElement {
  const item = document.createElement('li')
  item.className = 'browser'
  const name = nameOf(browser)
  const label = browser.device === null ? name : `${name}, number ${numberOf(browser.device)}`
  const text = element('div', 'browser-text')
  const title = element('h2', 'browser-name', name)
  if (browser.isThis) title.append(element('span', 'badge', 'This browser'))
  text.append(title, ...factsOf(browser).map((fact) => element('p', 'person-note', fact)))
  if (hasDoubtful(browser)) text.append(sessionList(browser, actions))
  item.append(text)
  const signOut = buttonFor(browser, label, actions)
  if (signOut !== null) item.append(signOut)
  return item
}

function buttonFor(browser: KnownBrowser, label: string, actions: BrowserActions): HTMLButtonElement | null {
  const [session] = browser.sessions
  if (browser.isThis) return null
  if (browser.device === null) return session === undefined ? null : endButton(session, label, actions)
  if (!actions.canRevoke) return null
  return button('Sign out…', label, () => {
    actions.revoke(browser, label)
  })
}

/** None for the log-in in front of the person: that one logs out. */
function endButton(
  session: BrowserSession,
  label: string,
  actions: BrowserActions,
): HTMLButtonElement | null {
  if (session.isThis) return null
  return button('Sign out', label, () => {
    actions.end(session.session, label)
  })
}

function button(text: string, label: string, act: () => void): HTMLButtonElement {
  const made = document.createElement('button')
  made.type = 'button'
  made.className = 'button button-small'
  made.append(text, element('span', 'visually-hidden', ` ${label}`))
  made.addEventListener('click', act)
  return made
}

/** A log-in says itself which browser it is: more than one of a browser, or a foreign one in this, may be anybody's. */
function hasDoubtful({ sessions, isThis }: KnownBrowser): boolean {
  return sessions.length > 1 || (isThis && sessions.some((session) => !session.isThis))
}

function sessionList(browser: KnownBrowser, actions: BrowserActions): HTMLUListElement {
  const list = document.createElement('ul')
  list.className = 'browser-sessions'
  list.append(
    ...browser.sessions.map((session) => {
      const label = `${nameOfSession(session)}, log-in ${dateAndTime(session.signedInAt)}`
      const item = element('li', 'browser-session')
      item.append(element('span', '', `${nameOfSession(session)}: ${notedOf(session)}.`))
      const end = endButton(session, label, actions)
      item.append(end ?? element('span', 'badge', 'You, now'))
      return item
    }),
  )
  return list
}

function nameOf({ device, sessions }: KnownBrowser): string {
  const [session] = sessions
  if (session !== undefined && session.name !== '') return session.name
  return device === null ? UNKNOWN : 'Browser'
}

function nameOfSession({ name }: BrowserSession): string {
  return name === '' ? UNKNOWN : name
}

function notedOf(session: BrowserSession): string {
  const from = session.address === '' ? '' : ` from ${session.address}`
  return `log-in ${dateAndTime(session.signedInAt)}${from}, last seen ${dateAndTime(session.seenAt)}`
}

/** What the key chain says, then what the server noted. */
function factsOf(browser: KnownBrowser): string[] {
  const { device, sessions } = browser
  const facts: string[] = []
  if (device === null) facts.push('Logged in without keys: it can read nothing.')
  else facts.push(`On your key chain since ${dateAndTime(device.addedAt)} · number ${numberOf(device)}`)
  const [newest] = sessions
  if (newest === undefined) facts.push('Nobody is logged in there now, as the server says.')
  else if (hasDoubtful(browser)) facts.push(DOUBT)
  else facts.push(`The server noted: ${notedOf(newest)}.`)
  return facts
}

function endedList(ended: readonly ChainDevice[]): HTMLDetailsElement {
  const details = document.createElement('details')
  details.className = 'browsers-ended'
  const count = ended.length === 1 ? '1 browser was' : `${ended.length} browsers were`
  details.append(element('summary', '', `${count} signed out`))
  const list = element('ul', 'points')
  list.append(...ended.map((device) => element('li', '', endedText(device))))
  details.append(list)
  return details
}

function endedText(device: ChainDevice): string {
  const number = `Browser ${numberOf(device)}, signed in on ${dateAndTime(device.addedAt)}.`
  if (device.ended === null) return number
  const at = dateAndTime(device.ended.at)
  switch (device.ended.by) {
    case 'retire':
      return `${number} Logged out there on ${at}.`
    case 'revoke':
      return `${number} Signed out on ${at} from another browser.`
    case 'reset':
      return `${number} Signed out on ${at}, when you started fresh.`
  }
}

/** The first half is enough to tell browsers apart. */
export function numberOf({ id }: Pick<ChainDevice, 'id'>): string {
  return (toHex(id).slice(0, 16).match(/.{4}/g) ?? []).join(' ')
}

function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className: string,
  text = '',
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag)
  made.className = className
  made.textContent = text
  return made
}
