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
  item.append(text)
  const button = buttonFor(browser, label, actions)
  if (button !== null) item.append(button)
  return item
}

function buttonFor(browser: KnownBrowser, label: string, actions: BrowserActions): HTMLButtonElement | null {
  const [session] = browser.sessions
  if (browser.isThis) return null
  if (browser.device === null && session === undefined) return null
  if (browser.device !== null && !actions.canRevoke) return null
  const button = document.createElement('button')
  button.type = 'button'
  button.className = 'button button-small'
  button.append(browser.device === null ? 'Sign out' : 'Sign out…')
  button.append(element('span', 'visually-hidden', ` ${label}`))
  button.addEventListener('click', () => {
    if (browser.device !== null) actions.revoke(browser, label)
    else if (session !== undefined) actions.end(session.session, label)
  })
  return button
}

function nameOf({ device, sessions }: KnownBrowser): string {
  const [session] = sessions
  if (session !== undefined && session.name !== '') return session.name
  return device === null ? 'Unknown browser' : 'Browser'
}

/** What the key chain says, then what the server noted. */
function factsOf({ device, sessions }: KnownBrowser): string[] {
  const facts: string[] = []
  if (device === null) facts.push('Logged in without keys: it can read nothing.')
  else facts.push(`On your key chain since ${dateAndTime(device.addedAt)} · number ${numberOf(device)}`)
  const newest = newestOf(sessions)
  if (newest === undefined) facts.push('Nobody is logged in there now, as the server says.')
  else {
    const from = newest.address === '' ? '' : ` from ${newest.address}`
    facts.push(
      `The server noted: log-in ${dateAndTime(newest.signedInAt)}${from}, last seen ${dateAndTime(newest.seenAt)}.`,
    )
  }
  return facts
}

function newestOf(sessions: readonly BrowserSession[]): BrowserSession | undefined {
  return sessions.toSorted((one, other) => other.seenAt - one.seenAt)[0]
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
