/** About: reads every file of the program as this browser has it, and shows the fingerprint that comes out. */
import { type BuildCheck, checkBuild } from '../ui/build_check'
import { byId } from '../ui/forms'
import { pageData } from '../ui/page_data'
import type { Bytes } from '../wire/bytes'
import { groupedFingerprint, shortFingerprint } from '../wire/build'
import { type Decoder, looseObject, object, orNull, text } from '../wire/json'

interface AboutData {
  readonly manifest: string
  readonly files: ReadonlyMap<string, string>
  /** Of this version, as the server's copy of docs/builds.md has it. */
  readonly published: string | null
}

const addresses: Decoder<ReadonlyMap<string, string>> = (value) =>
  new Map(Object.entries(object(value)).map(([name, address]) => [name, text(address)]))
const decodeData: Decoder<AboutData> = looseObject<AboutData>({
  manifest: text,
  files: addresses,
  published: orNull(text),
})

const data = decodeData(pageData(document))
const result = byId(document, 'build-result', HTMLElement)
const words = byId(document, 'build-words', HTMLElement)

async function start(): Promise<void> {
  const loaded = loadedFiles()
  const check = await checkBuild({
    read,
    manifestAddress: data.manifest,
    addresses: data.files,
    loaded,
    onProgress: (done, total) => {
      words.textContent = `Checked ${done} of ${total} files…`
    },
  })
  show(check)
}

/** As the cache has it, where it has it: those are the bytes that run. */
async function read(address: string): Promise<Bytes> {
  const response = await fetch(address, { cache: 'force-cache' })
  if (!response.ok) throw new TypeError(`${address} answered ${response.status}.`)
  return new Uint8Array(await response.arrayBuffer())
}

function loadedFiles(): string[] {
  const entries = performance.getEntriesByType('resource') as PerformanceResourceTiming[]
  const urls = entries.map(({ name }) => new URL(name))
  return [...new Set(urls.map((url) => (url.origin === location.origin ? url.pathname : url.href)))].filter(
    (address) => /\.(js|css)$/.test(address),
  )
}

function show(check: BuildCheck): void {
  const { different, foreign, total } = check
  const wrong = different.length > 0 || foreign.length > 0
  const running = document.querySelector<HTMLMetaElement>('meta[name="build"]')?.content
  byId(document, 'build-fingerprint', HTMLElement).textContent = groupedFingerprint(check.fingerprint)
  result.className = `banner ${wrong || running !== check.fingerprint ? 'banner-alarm' : 'banner-success'}`
  words.textContent =
    `This page runs build ${shortFingerprint(check.fingerprint)}. ` +
    `${total - different.length} of ${total} files match its manifest.`
  const more = document.createElement('ul')
  const line = (sentence: string): void => {
    const item = document.createElement('li')
    item.textContent = sentence
    more.append(item)
  }
  for (const name of different) line(`${name} is not as the manifest says.`)
  for (const address of foreign) line(`${address} was loaded and is not in the manifest.`)
  if (running !== check.fingerprint) line('The page says that it belongs to another build.')
  if (more.childElementCount > 0) words.after(more)
  showPublished(check.fingerprint)
}

function showPublished(fingerprint: string): void {
  if (data.published === null) return
  byId(document, 'published-result', HTMLElement).textContent =
    data.published === fingerprint
      ? 'The two are the same.'
      : 'The two differ: this is not the build that was published.'
}

start().catch((error: unknown) => {
  result.className = 'banner banner-warning'
  words.textContent = 'The files of the program could not be read. Check your connection and reload the page.'
  reportError(error)
})
