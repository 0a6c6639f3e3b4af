/** What the build says about itself: the manifest of its files, and which one the server runs. */
import { count, type Decoder, exactObject, literal, looseObject, object, text } from './json'
import { MalformedData } from './malformed'

export interface BuiltFile {
  /** In base64. */
  readonly sha384: string
  /** In bytes. */
  readonly size: number
}

export interface Manifest {
  readonly version: string
  readonly files: ReadonlyMap<string, BuiltFile>
}

export interface RunningBuild {
  readonly version: string
  /** SHA-256 of the manifest, in hex. */
  readonly fingerprint: string
}

const FINGERPRINT = /^[0-9a-f]{64}$/
const SHORT_DIGITS = 16

const decodeFile: Decoder<BuiltFile> = exactObject<BuiltFile>({ sha384: text, size: count })
const decodeFiles: Decoder<ReadonlyMap<string, BuiltFile>> = (value) =>
  new Map(Object.entries(object(value)).map(([name, file]) => [name, decodeFile(file)]))

export const decodeManifest: Decoder<Manifest> = exactObject<Manifest & { readonly format: string }>({
  format: literal('securechat-build/1'),
  version: text,
  files: decodeFiles,
})

export const fingerprint: Decoder<string> = (value) => {
  if (!FINGERPRINT.test(text(value))) throw new MalformedData('a fingerprint')
  return text(value)
}

export const decodeRunningBuild: Decoder<RunningBuild> = looseObject<RunningBuild>({
  version: text,
  fingerprint,
})

/** `3f9a 71c2 …`: the whole, as people read it out. */
export function groupedFingerprint(whole: string): string {
  return (whole.match(/.{4}/g) ?? []).join(' ')
}

/** `3f9a-71c2-08be-44d1`: enough to notice another build, too short to tell a forged one. */
export function shortFingerprint(whole: string): string {
  return (whole.slice(0, SHORT_DIGITS).match(/.{4}/g) ?? []).join('-')
}
