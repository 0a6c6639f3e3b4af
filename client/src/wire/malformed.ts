/** Bytes or JSON that are not of the form docs/protocol.md gives. Says which part, never quotes what was there. */
export class MalformedData extends Error {
  override readonly name = 'MalformedData'
  readonly code = 'malformed_data'

  constructor(what: string) {
    super(`Not as expected: ${what}.`)
  }
}
