/** What the keys of the composer mean, and how long a message is. */

export interface Keystroke {
  readonly key: string
  readonly keyCode: number
  readonly isComposing: boolean
  readonly shiftKey: boolean
  readonly ctrlKey: boolean
  readonly metaKey: boolean
}

/** Whether the key sends. `enterSends` is the person's choice; on a touch screen Enter makes a line. */
export function sends(
  stroke: Keystroke,
  options: { readonly enterSends: boolean; readonly touch: boolean },
): boolean {
  if (stroke.key !== 'Enter' || stroke.isComposing || stroke.keyCode === 229) return false
  if (stroke.ctrlKey || stroke.metaKey) return true
  return options.enterSends && !options.touch && !stroke.shiftKey
}

/** Characters as people count them in the limit: code points. */
export function characters(text: string): number {
  return Array.from(text).length
}

/** Null while the limit is far. */
export function countText(count: number, limit: number): string | null {
  if (count < limit * 0.9) return null
  const left = limit - count
  return left >= 0
    ? `${left} characters left`
    : `${-left} characters too many. Shorten the message to send it.`
}
