/** Times as people read them, in the browser's language and zone. */

const DAY_MS = 24 * 3600 * 1000

export interface TimeStyle {
  readonly locale?: string | undefined
  readonly timeZone?: string | undefined
}

/** Making one is slow, and a log needs two for each line. */
const formats = new Map<string, Intl.DateTimeFormat>()

function format(time: number, options: Intl.DateTimeFormatOptions, style: TimeStyle): string {
  const key = JSON.stringify([options, style])
  const zone = style.timeZone === undefined ? {} : { timeZone: style.timeZone }
  const known = formats.get(key) ?? new Intl.DateTimeFormat(style.locale, { ...options, ...zone })
  formats.set(key, known)
  return known.format(time)
}

/** "14:02" */
export function clockTime(time: number, style: TimeStyle = {}): string {
  return format(time, { hour: '2-digit', minute: '2-digit' }, style)
}

/** "Monday, 23 November", with the year when it is another one. */
export function dayName(time: number, now: number, style: TimeStyle = {}): string {
  const sameYear = format(time, { year: 'numeric' }, style) === format(now, { year: 'numeric' }, style)
  const day = { weekday: 'long', day: 'numeric', month: 'long' } as const
  return format(time, sameYear ? day : { ...day, year: 'numeric' }, style)
}

/** "23 Nov", with the year when it is another one. */
export function shortDate(time: number, now: number, style: TimeStyle = {}): string {
  const sameYear = format(time, { year: 'numeric' }, style) === format(now, { year: 'numeric' }, style)
  const day = { day: 'numeric', month: 'short' } as const
  return format(time, sameYear ? day : { ...day, year: 'numeric' }, style)
}

/** "14:02" today, otherwise "23 Nov, 14:02". */
export function momentName(time: number, now: number, style: TimeStyle = {}): string {
  const clock = clockTime(time, style)
  return dayKey(time, style) === dayKey(now, style) ? clock : `${shortDate(time, now, style)}, ${clock}`
}

/** The same for all times of one day. */
export function dayKey(time: number, style: TimeStyle = {}): string {
  return format(time, { year: 'numeric', month: '2-digit', day: '2-digit' }, style)
}

/** For a list: the clock today, the weekday within a week, otherwise the date. */
export function listTime(time: number, now: number, style: TimeStyle = {}): string {
  if (dayKey(time, style) === dayKey(now, style)) return clockTime(time, style)
  if (now - time < 6 * DAY_MS) return format(time, { weekday: 'short' }, style)
  return format(time, { day: 'numeric', month: 'short' }, style)
}

/** For people and programs alike: `datetime` of a `<time>`. */
export function isoTime(time: number): string {
  return new Date(time).toISOString()
}
