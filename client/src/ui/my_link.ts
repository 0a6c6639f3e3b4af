/** One's own link: whoever adds a friend by it gets the fingerprint along, so the friend starts verified. */
import { fingerprintText, identityFingerprint } from '../crypto/fingerprint'
import type { AccountRecord } from '../store/database'
import { byId } from './forms'

export async function myLink({ username, browser }: AccountRecord): Promise<string> {
  const { origin, name, identityPublic } = browser
  const fingerprint = await identityFingerprint(origin, name, identityPublic)
  return `${origin}/add/${username}#${fingerprintText(fingerprint)}`
}

/** Fills and shows the page's part for it. The code is drawn when somebody asks for it. */
export async function showMyLink(page: Document, account: AccountRecord): Promise<void> {
  const link = await myLink(account)
  byId(page, 'my-link-text', HTMLElement).textContent = link
  const picture = byId(page, 'my-link-picture', HTMLElement)
  const button = byId(page, 'my-link-code', HTMLButtonElement)
  button.addEventListener('click', () => {
    void toggle(picture, button, link)
  })
  byId(page, 'my-link', HTMLElement).hidden = false
}

async function toggle(picture: HTMLElement, button: HTMLButtonElement, link: string): Promise<void> {
  if (picture.childElementCount === 0) {
    const { qrCode } = await import('./qr')
    picture.replaceChildren(qrCode(link, 'QR code of your link'))
  }
  picture.hidden = !picture.hidden
  button.textContent = picture.hidden ? 'Show the QR code' : 'Hide the QR code'
  button.setAttribute('aria-expanded', String(!picture.hidden))
}
