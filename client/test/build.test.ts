import { execFileSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { createHash } from 'node:crypto'
import { homedir, tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { decodeManifest, type Manifest } from '../src/wire/build'
import { parseJson } from '../src/wire/json'

const CLIENT = dirname(dirname(fileURLToPath(import.meta.url)))
const ROOT = dirname(CLIENT)
const SOURCES = ['build.mjs', 'package.json', 'tsconfig.json', 'src']

interface Built {
  readonly folder: string
  readonly files: ReadonlyMap<string, Buffer>
  readonly output: string
}

const work = mkdtempSync(join(tmpdir(), 'securechat-build-'))
let one: Built
let other: Built

/** Copies the sources there and builds them, called from elsewhere. */
function buildIn(folder: string, environment: Readonly<Record<string, string>>): Built {
  mkdirSync(folder, { recursive: true })
  for (const name of SOURCES) cpSync(join(CLIENT, name), join(folder, name), { recursive: true })
  return runBuild(folder, environment)
}

/** The last commit and nothing else, with the packages that are installed here. */
function buildClone(folder: string): Built {
  execFileSync('git', ['clone', '--quiet', '--no-hardlinks', ROOT, folder])
  const client = join(folder, 'client')
  expect(lockOf(client), 'Commit package-lock.json first.').toBe(lockOf(CLIENT))
  return runBuild(client, {})
}

function lockOf(client: string): string {
  return readFileSync(join(client, 'package-lock.json'), 'utf8')
}

function runBuild(folder: string, environment: Readonly<Record<string, string>>): Built {
  symlinkSync(join(CLIENT, 'node_modules'), join(folder, 'node_modules'))
  const output = execFileSync(process.execPath, [join(folder, 'build.mjs')], {
    cwd: tmpdir(),
    env: { PATH: process.env['PATH'], ...environment },
    encoding: 'utf8',
  })
  return { folder, files: filesBelow(join(folder, 'dist')), output }
}

function filesBelow(folder: string): Map<string, Buffer> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  )
  const paths = entries.map((entry) => join(entry.parentPath, entry.name))
  return new Map(paths.map((path) => [relative(folder, path), readFileSync(path)]))
}

function manifestOf(built: Built): Manifest {
  return decodeManifest(parseJson(built.files.get('manifest.json')?.toString() ?? ''))
}

beforeAll(() => {
  one = buildIn(join(work, 'a'), { TZ: 'UTC', LANG: 'C' })
  other = buildIn(join(work, 'another', 'place with spaces', 'ä'), {
    TZ: 'Pacific/Auckland',
    LANG: 'tr_TR.UTF-8',
    NODE_ENV: 'development',
  })
})

afterAll(() => {
  rmSync(work, { recursive: true, force: true })
})

function expectSameBytes(first: Built, second: Built): void {
  expect([...first.files.keys()].sort()).toEqual([...second.files.keys()].sort())
  for (const [name, bytes] of first.files)
    expect(bytes.equals(second.files.get(name) ?? Buffer.of()), name).toBe(true)
  expect(first.output).toBe(second.output)
}

test('two builds in different places give the same bytes', () => {
  expectSameBytes(one, other)
})

// A copy of the project without its history cannot be cloned.
test.runIf(existsSync(join(ROOT, '.git')))('two clean clones give the same bytes', () => {
  expectSameBytes(buildClone(join(work, 'clone')), buildClone(join(work, 'second clone')))
})

test('nothing of the machine or the moment is in what was built', () => {
  const now = new Date()
  const traces = [one.folder, work, homedir() + '/', CLIENT, 'node_modules', now.toISOString().slice(0, 10)]
  for (const [name, bytes] of one.files)
    for (const trace of traces) expect(bytes.includes(trace), `${trace} in ${name}`).toBe(false)
})

test('the manifest has every file, its hash and its size, and the fingerprint is the hash of the manifest', () => {
  const { files } = manifestOf(one)

  expect([...files.keys(), 'manifest.json'].sort()).toEqual([...one.files.keys()].sort())
  expect([...files.keys()]).toEqual([...files.keys()].sort())
  for (const [name, { sha384, size }] of files) {
    const bytes = one.files.get(name) ?? Buffer.of()
    expect(createHash('sha384').update(bytes).digest('base64'), name).toBe(sha384)
    expect(bytes.length, name).toBe(size)
  }
  const manifest = one.files.get('manifest.json') ?? Buffer.of()
  expect(one.output).toBe(`Build ${createHash('sha256').update(manifest).digest('hex')}\n`)
})

test('pages know the hash of the worker that was built with them', () => {
  const worker = one.files.get('securechat/argon2-worker.js') ?? Buffer.of()
  const hash = createHash('sha384').update(worker).digest('hex')

  const knowing = [...one.files].filter(([name, bytes]) => name.endsWith('.js') && bytes.includes(hash))
  expect(knowing.length).toBe(1)
})

test('a style sheet names its pictures by their hash, so that nothing is rewritten when it is served', () => {
  for (const [name, bytes] of one.files) {
    if (!name.endsWith('.css')) continue
    const named = [...bytes.toString().matchAll(/url\("?([^")]+)"?\)/g)].map((match) => match[1] ?? '')
    for (const address of named) {
      expect(address).toMatch(/^\.\/[a-z]+-[A-Z0-9]{8}\.svg$/)
      expect(one.files.has(join('securechat', address)), address).toBe(true)
    }
  }
})
