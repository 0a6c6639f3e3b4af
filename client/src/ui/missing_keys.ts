/** Signed in, but the browser has no keys: it cleared its storage, or never had any. The way back is a log-in. */
import type { ChatPage } from './chat_page'

export function showMissingKeys(page: Document, chat: Pick<ChatPage, 'logIn'>): void {
  if (page.querySelector('[data-missing-keys]') !== null) return
  const button = page.createElement('button')
  button.className = 'button button-primary'
  button.type = 'button'
  button.textContent = 'Sign in again'
  button.addEventListener('click', () => {
    location.assign(chat.logIn(location.pathname, 'keys_missing'))
  })
  fill(page, 'This browser has no keys for you yet. Sign in again to bring them back.', button)
}

export function showNoStorage(page: Document): void {
  fill(
    page,
    'This browser does not let this page keep anything, so it cannot keep your keys. Allow storage for this site, or leave the private window.',
  )
}

function fill(page: Document, sentence: string, ...more: readonly HTMLElement[]): void {
  const box = page.createElement('div')
  box.className = 'chat-blank empty'
  box.dataset['missingKeys'] = ''
  const line = page.createElement('p')
  line.className = 'empty-title'
  line.textContent = sentence
  box.append(line, ...more)
  page.querySelector('[data-chat], chat-app')?.replaceWith(box)
}
