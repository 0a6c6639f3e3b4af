/**
 * What every page does: the chosen theme, messages that can be put away, times that people read, buttons that copy, and
 * the notices that a part of the page did not load and that the server runs a newer build.
 *
 * Every page works without it.
 */
import { keepTheme, preferenceStorage, type Theme, themeOf } from '../store/preferences'
import { askForBuild, showBuildNotice, watchBuild } from '../ui/build_notice'
import { watchLoading } from '../ui/load_notice'

const preferences = preferenceStorage()

function showTheme(theme: Theme): void {
  if (theme === 'auto') delete document.documentElement.dataset['theme']
  else document.documentElement.dataset['theme'] = theme
}

function bindThemeChoice(): void {
  const choice = document.querySelector<HTMLElement>('[data-theme-choice]')
  const select = choice?.querySelector('select')
  if (!choice || !select) return
  select.value = themeOf(preferences)
  choice.hidden = false
  select.addEventListener('change', () => {
    const theme = select.value === 'light' || select.value === 'dark' ? select.value : 'auto'
    keepTheme(preferences, theme)
    showTheme(theme)
  })
}

function bindDismissals(): void {
  for (const button of document.querySelectorAll<HTMLElement>('[data-dismiss]')) {
    button.hidden = false
    button.addEventListener('click', () => {
      const message = button.closest('.message, .banner')
      const list = message?.parentElement
      message?.remove()
      if (list?.classList.contains('messages') === true && list.childElementCount === 0) list.remove()
      document.querySelector<HTMLElement>('[data-dismiss], main')?.focus()
    })
  }
}

const STEPS: readonly (readonly [unit: Intl.RelativeTimeFormatUnit, seconds: number])[] = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
]
const OLDEST_RELATIVE_SECONDS = 7 * 86_400

/** "5 minutes ago" up to a week; after that, and for what is no time, null: the written time stays. */
function relativeTime(then: number, now: number): string | null {
  const seconds = Math.round((then - now) / 1000)
  if (!(Math.abs(seconds) < OLDEST_RELATIVE_SECONDS)) return null
  const [unit, size] = STEPS.find(([, size]) => Math.abs(seconds) >= size) ?? ['second', 1]
  const words = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: 'auto' })
  return unit === 'second' ? 'just now' : words.format(Math.trunc(seconds / size), unit)
}

function showRelativeTimes(): void {
  for (const time of document.querySelectorAll<HTMLTimeElement>('time[data-relative]')) {
    const text = relativeTime(Date.parse(time.dateTime), Date.now())
    if (text === null) continue
    if (time.title === '') time.title = time.textContent
    time.textContent = text
  }
}

function bindCopyButtons(): void {
  for (const button of document.querySelectorAll<HTMLButtonElement>('button[data-copy]')) {
    const source = document.querySelector<HTMLElement>(button.dataset['copy'] ?? '')
    if (source === null) continue
    button.hidden = false
    button.addEventListener('click', () => {
      navigator.clipboard.writeText(source.textContent.trim()).then(
        () => {
          toast('Copied')
        },
        () => {
          getSelection()?.selectAllChildren(source)
          toast('Selected. Copy it with your keyboard.')
        },
      )
    })
  }
}

function toast(text: string): void {
  let place = document.querySelector<HTMLElement>('.toasts')
  if (place === null) {
    place = document.createElement('div')
    place.className = 'toasts'
    place.setAttribute('role', 'status')
    document.querySelector('main')?.append(place)
  }
  const line = document.createElement('p')
  line.className = 'toast'
  line.textContent = text
  place.replaceChildren(line)
  setTimeout(() => {
    line.remove()
  }, 4_000)
}

/** A menu made of `<details>` closes on Escape and on a click beside it. */
function bindMenus(): void {
  const openMenus = (): NodeListOf<HTMLDetailsElement> => document.querySelectorAll('details.menu[open]')
  document.addEventListener('click', (event) => {
    for (const menu of openMenus()) if (!menu.contains(event.target as Node)) menu.open = false
  })
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return
    for (const menu of openMenus()) {
      menu.open = false
      menu.querySelector('summary')?.focus()
    }
  })
}

function start(): void {
  bindThemeChoice()
  bindDismissals()
  bindCopyButtons()
  bindMenus()
  showRelativeTimes()
  watchBuild({
    page: document,
    ask: () => askForBuild('/build/'),
    now: Date.now,
    show: (build) => {
      showBuildNotice(document, build, new Date())
    },
  })
  setInterval(showRelativeTimes, 60_000)
}

showTheme(themeOf(preferences))
watchLoading(document)
if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', start)
else start()
