/** Hashes the files that this browser holds of the program, and compares them with the build's manifest. */
import { type Bytes, fromUtf8, toBase64url, toHex } from '../wire/bytes'
import { decodeManifest, type Manifest } from '../wire/build'
import { parseJson } from '../wire/json'

export interface BuildCheck {
  /** SHA-256 of the manifest that was read, in hex. */
  readonly fingerprint: string
  readonly version: string
  readonly total: number
  /** Names of files that are not as the manifest says, or that could not be read. */
  readonly different: readonly string[]
  /** Addresses of scripts and styles that this page loaded and the manifest does not know. */
  readonly foreign: readonly string[]
}

export interface BuildCheckInput {
  /** The bytes behind an address of this server. */
  readonly read: (address: string) => Promise<Bytes>
  readonly manifestAddress: string
  /** Where the page finds each file. */
  readonly addresses: ReadonlyMap<string, string>
  /** What this page has loaded from this server so far: paths of scripts and styles. */
  readonly loaded: readonly string[]
  readonly onProgress: (done: number, total: number) => void
}

/** Throws when the manifest itself cannot be read. */
export async function checkBuild(input: BuildCheckInput): Promise<BuildCheck> {
  const bytes = await input.read(input.manifestAddress)
  const fingerprint = toHex(await digest('SHA-256', bytes))
  const manifest = decodeManifest(parseJson(fromUtf8(bytes)))
  const names = [...manifest.files.keys()]
  const different: string[] = []
  let done = 0
  await Promise.all(
    names.map(async (name) => {
      if (!(await isAsBuilt(name, manifest, input))) different.push(name)
      done += 1
      input.onProgress(done, names.length)
    }),
  )
  const known = new Set(input.addresses.values())
  return {
    fingerprint,
    version: manifest.version,
    total: names.length,
    different: different.sort(),
    foreign: input.loaded.filter((address) => !known.has(address)),
  }
}

async function isAsBuilt(name: string, manifest: Manifest, input: BuildCheckInput): Promise<boolean> {
  const address = input.addresses.get(name)
  const file = manifest.files.get(name)
  if (address === undefined || file === undefined) return false
  try {
    const found = await input.read(address)
    return found.length === file.size && toBase64url(await digest('SHA-384', found)) === urlSafe(file.sha384)
  } catch {
    return false
  }
}

function urlSafe(base64: string): string {
  return base64.replaceAll('+', '-').replaceAll('/', '_')
}

async function digest(algorithm: 'SHA-256' | 'SHA-384', bytes: Bytes): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest(algorithm, bytes))
}
