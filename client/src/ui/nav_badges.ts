/** The numbers in the bar at the top of every page. */

export function showUnread(page: Document, chats: number): void {
  show(page, '[data-unread-badge]', chats, chats === 1 ? ' unread chat' : ' unread chats')
}

export function showRequests(page: Document, requests: number): void {
  show(page, '[data-requests-badge]', requests, ' waiting')
}

/** The mark of those friends on the list whose safety number was compared. */
export function showVerified(page: Document, conversations: ReadonlySet<string>): void {
  for (const row of page.querySelectorAll<HTMLElement>('.person[data-conversation]')) {
    const name = row.querySelector('.person-name')
    const mark = row.querySelector('.person-verified')
    const isVerified = conversations.has(row.dataset['conversation'] ?? '')
    if (!isVerified) mark?.remove()
    else if (mark === null) name?.append(verifiedMark(page))
  }
}

function verifiedMark(page: Document): HTMLElement {
  const mark = page.createElement('span')
  mark.className = 'person-verified'
  const icon = page.createElement('span')
  icon.className = 'icon icon-shield verified-mark'
  icon.setAttribute('aria-hidden', 'true')
  const word = page.createElement('span')
  word.className = 'visually-hidden'
  word.textContent = ' Verified'
  mark.append(icon, word)
  return mark
}

/** Leaves the page alone where nothing changes, so that no reader repeats it. */
function show(page: Document, selector: string, count: number, what: string): void {
  for (const badge of page.querySelectorAll<HTMLElement>(selector)) {
    if (badge.dataset['count'] === String(count)) continue
    badge.dataset['count'] = String(count)
    badge.hidden = count === 0
    const word = page.createElement('span')
    word.className = 'visually-hidden'
    word.textContent = what
    badge.replaceChildren(String(count), word)
  }
}
