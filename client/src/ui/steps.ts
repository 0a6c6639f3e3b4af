/** A page whose parts are shown one after the other. */

/** Shows one part, hides its siblings of the same page, and takes the reader to its heading. */
export function showStep(step: HTMLElement, all: readonly HTMLElement[]): void {
  for (const other of all) other.hidden = other !== step
  const heading = step.querySelector<HTMLElement>('h1, h2')
  if (heading === null) return
  const page = step.ownerDocument
  page.title = `${heading.textContent.trim()} · SecureChat`
  heading.focus()
  page.defaultView?.scrollTo(0, 0)
}
