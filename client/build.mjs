/**
 * Builds every page's script and the style sheets into dist/, which Django serves with hashed names, and writes down
 * what it made: dist/manifest.json has the SHA-384 and the size of each file.
 *
 * The same sources give the same bytes on every machine: no time, path, order of a directory or random name goes in.
 * The build's fingerprint is the SHA-256 of dist/manifest.json.
 */
import { build } from 'esbuild'
import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const dist = join(here, 'dist')
/** Swapped in whole at the end, so that nobody who reads dist/ meanwhile sees half a build. */
const next = join(here, `dist.${process.pid}`)
const SITE = 'securechat'

const hash = (algorithm, bytes, encoding) => createHash(algorithm).update(bytes).digest(encoding)
/** By code unit, as no language sorts them otherwise. */
const byName = ([one], [other]) => (one < other ? -1 : 1)

const common = {
  absWorkingDir: here,
  bundle: true,
  // A package's place must not show in the names of chunks, wherever node_modules really is.
  preserveSymlinks: true,
  minify: true,
  target: 'es2022',
  legalComments: 'none',
  outdir: join(dist, SITE),
  write: false,
  logLevel: 'warning',
}

async function bundle(options) {
  const { outputFiles } = await build({ ...common, ...options })
  return outputFiles.map(({ path, contents }) => [relative(dist, path).split(sep).join('/'), contents])
}

/** Style sheets name the icons as if they lay beside them. */
const icons = {
  name: 'icons',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\/icons\.svg$/ }, () => ({ path: join(here, 'src/assets/icons.svg') }))
  },
}

/**
 * X-Wing asks its X25519 for nothing but the function itself, and that brings an HKDF along which has SHA-256 and HMAC in
 * JavaScript, for salts that WebCrypto does not take. The one by WebCrypto takes its place: it would throw for those.
 */
const nativeHkdf = {
  name: 'native-hkdf',
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]dhkem-x25519[\\/]esm[\\/]src[\\/]hkdfSha256\.js$/ }, ({ path }) => ({
      contents: "export { HkdfSha256Native as HkdfSha256 } from '@hpke/common'",
      resolveDir: dirname(path),
    }))
  },
}

async function buildEverything() {
  const worker = await bundle({
    entryPoints: { 'argon2-worker': 'src/crypto/argon2_worker.ts' },
    format: 'iife',
  })
  const pages = (await readdir(join(here, 'src/pages'))).filter((name) => name.endsWith('.ts')).sort()
  const scripts = await bundle({
    entryPoints: pages.map((name) => `src/pages/${name}`),
    format: 'esm',
    splitting: true,
    chunkNames: 'chunk-[hash]',
    plugins: [nativeHkdf],
    // No browser checks a worker's integrity by itself: the page does, before it starts it.
    define: { ARGON2_WORKER_SHA384: JSON.stringify(hash('sha384', worker[0][1], 'hex')) },
  })
  const styles = await bundle({
    entryPoints: ['src/styles/site.css', 'src/styles/admin.css'],
    loader: { '.svg': 'file' },
    assetNames: '[name]-[hash]',
    plugins: [icons],
  })
  const assets = (await readdir(join(here, 'src/assets'))).filter((name) => name !== 'icons.svg')
  const copies = assets.map(async (name) => [
    `${SITE}/${name}`,
    await readFile(join(here, 'src/assets', name)),
  ])
  return new Map([...worker, ...scripts, ...styles, ...(await Promise.all(copies))].sort(byName))
}

async function manifestOf(files) {
  const { version } = JSON.parse(await readFile(join(here, 'package.json'), 'utf8'))
  const entries = [...files].map(([name, bytes]) => [
    name,
    { sha384: hash('sha384', bytes, 'base64'), size: bytes.length },
  ])
  const manifest = { format: 'securechat-build/1', version, files: Object.fromEntries(entries) }
  return Buffer.from(`${JSON.stringify(manifest, null, 1)}\n`)
}

const files = await buildEverything()
const manifest = await manifestOf(files)
await rm(next, { recursive: true, force: true })
for (const [name, bytes] of [...files, ['manifest.json', manifest]]) {
  await mkdir(dirname(join(next, name)), { recursive: true })
  await writeFile(join(next, name), bytes)
}
await rm(dist, { recursive: true, force: true })
await rename(next, dist)
console.log(`Build ${hash('sha256', manifest, 'hex')}`)
