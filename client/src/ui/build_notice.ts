/** Notices that the server runs another build of this program than the page does, and says so. */
import { decodeRunningBuild, type RunningBuild, shortFingerprint } from '../wire/build'

/** Sent to the document by whoever has just opened a socket: after a restart of the server everybody has. */
const CONNECTED = 'securechat:connected'
const QUIET_MS = 10 * 60_000
const AFTER_CONNECTING_MS = 5_000
const LOOK_EVERY_MS = 60_000

export interface BuildWatch {
  readonly page: Document
  /** The server's present build. May throw: then nothing is said. */
  readonly ask: () => Promise<unknown>
  readonly now: () => number
  readonly show: (build: RunningBuild) => void
}

export function announceConnected(page: Document): void {
  page.dispatchEvent(new Event(CONNECTED))
}

/** Asks when the page is looked at again, at most every ten minutes, and after each new socket, until there is a notice. */
export function watchBuild(watch: BuildWatch): void {
  const { page, now } = watch
  const own = page.querySelector<HTMLMetaElement>('meta[name="build"]')?.content
  if (own === undefined || own === '') return
  let askedAt = now()
  let done = false

  const look = async (pauseMs: number): Promise<void> => {
    if (done || page.visibilityState !== 'visible' || now() - askedAt < pauseMs) return
    askedAt = now()
    const build = decodeRunningBuild(await watch.ask())
    // The other look may have been faster.
    if (done as boolean) return
    if (build.fingerprint === own) return
    done = true
    watch.show(build)
  }
  const lookQuietly = (pauseMs: number): void => {
    look(pauseMs).catch(() => undefined)
  }
  page.addEventListener(CONNECTED, () => {
    lookQuietly(AFTER_CONNECTING_MS)
  })
  page.addEventListener('visibilitychange', () => {
    lookQuietly(QUIET_MS)
  })
  setInterval(() => {
    lookQuietly(QUIET_MS)
  }, LOOK_EVERY_MS)
}

export async function askForBuild(address: string): Promise<unknown> {
  const response = await fetch(address, { cache: 'no-store', signal: AbortSignal.timeout(20_000) })
  return response.json()
}

export function showBuildNotice(page: Document, build: RunningBuild, noticedAt: Date): void {
  const place = page.querySelector('[data-banners]')
  if (place === null) return
  const banner = page.createElement('div')
  banner.className = 'banner banner-info'
  banner.dataset['buildNotice'] = build.fingerprint
  banner.setAttribute('role', 'status')
  place.append(banner)

  const headline = page.createElement('strong')
  headline.textContent = 'A new version is ready.'
  const time = noticedAt.toLocaleTimeString(page.documentElement.lang, {
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  })
  const about = page.createElement('a')
  about.href = '/about/'
  about.textContent = `Fingerprint ${shortFingerprint(build.fingerprint)}`
  const words = page.createElement('p')
  words.append(headline, ` The program of this site changed, noticed at ${time}. `, about)
  const button = page.createElement('button')
  button.type = 'button'
  button.className = 'button button-small'
  button.textContent = 'Reload'
  button.addEventListener('click', () => {
    location.reload()
  })
  const actions = page.createElement('div')
  actions.className = 'banner-actions'
  actions.append(button)
  // A region that is filled after it is there is read aloud.
  requestAnimationFrame(() => {
    banner.append(words, actions)
  })
}
