/** What the server wrote into the page as JSON for its script. */
import { parseJson } from '../wire/json'

/** Throws when the page carries none: the template forgot it. */
export function pageData(page: Document): unknown {
  return parseJson(page.getElementById('page-data')?.textContent ?? '')
}
