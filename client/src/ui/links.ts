/** Finds links in what people write. Only http and https, and never as markup: the parts are shown as text nodes. */

export type TextPart = { readonly kind: 'text'; readonly text: string } | Link

export interface Link {
  readonly kind: 'link'
  readonly text: string
  readonly href: string
}

/** A link ends before characters that turn the text around: it must read as where it goes. */
const CANDIDATE = /https?:\/\/[^\s<>"'`\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+/giu
const TRAILING = /[.,;:!?…]+$/u

export function textParts(text: string): TextPart[] {
  const parts: TextPart[] = []
  let end = 0
  for (const match of text.matchAll(CANDIDATE)) {
    const link = linkOf(match[0])
    if (link === null) continue
    if (match.index > end) parts.push({ kind: 'text', text: text.slice(end, match.index) })
    parts.push(link)
    end = match.index + link.text.length
  }
  if (end < text.length) parts.push({ kind: 'text', text: text.slice(end) })
  return parts
}

function linkOf(candidate: string): Link | null {
  let text = candidate.replace(TRAILING, '')
  if (text.endsWith(')') && !text.includes('(')) text = text.slice(0, -1).replace(TRAILING, '')
  let url: URL
  try {
    url = new URL(text)
  } catch {
    return null
  }
  if ((url.protocol !== 'http:' && url.protocol !== 'https:') || url.username !== '' || url.password !== '')
    return null
  return { kind: 'link', text, href: url.href }
}
