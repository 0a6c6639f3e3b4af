/**
 * Says that a script or a style of this page did not load. A file that is not the one that was built is refused by the
 * browser and looks the same from here: without these words a page would only stay still.
 */
const PARTS = 'script[src], link[rel~="stylesheet"]'

export function watchLoading(page: Document): void {
  page.addEventListener(
    'error',
    ({ target }) => {
      if (target instanceof Element && target.matches(PARTS)) showLoadNotice(page)
    },
    { capture: true },
  )
  // A style comes before every script: it has failed already.
  for (const link of page.querySelectorAll<HTMLLinkElement>('link[rel~="stylesheet"]'))
    if (link.sheet === null) showLoadNotice(page)
}

function showLoadNotice(page: Document): void {
  const place = page.querySelector('[data-banners]')
  if (place === null || place.querySelector('[data-load-notice]') !== null) return
  const banner = page.createElement('div')
  banner.className = 'banner banner-alarm'
  banner.dataset['loadNotice'] = ''
  banner.setAttribute('role', 'alert')
  const headline = page.createElement('strong')
  headline.textContent = 'A part of this page did not load, or was changed on its way.'
  const about = page.createElement('a')
  about.href = '/about/'
  about.textContent = 'Check this program'
  const words = page.createElement('p')
  words.append(
    headline,
    ' A changed part is not run. Reload the page. If this stays, tell whoever runs this server. ',
    about,
  )
  banner.append(words)
  place.append(banner)
}
