/** The numbers in the bar at the top of every page. */

export function showUnread(page: Document, chats: number): void {
  show(page, '[data-unread-badge]', chats, chats === 1 ? ' unread chat' : ' unread chats')
}

export function showRequests(page: Document, requests: number): void {
  show(page, '[data-requests-badge]', requests, ' waiting')
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
