/**
 * Builds every page's script and the style sheet into dist/, which Django serves with hashed names.
 * The same sources give the same bytes: no time, path or random name goes in.
 */
import { build } from 'esbuild'
import { cp, mkdir, readdir, rm } from 'node:fs/promises'

const out = 'dist/securechat'

await rm('dist', { recursive: true, force: true })
await mkdir(out, { recursive: true })
const pages = (await readdir('src/pages')).filter((name) => name.endsWith('.ts'))
const common = {
  bundle: true,
  minify: true,
  target: 'es2022',
  legalComments: 'none',
  outdir: out,
  logLevel: 'warning',
}
await build({
  ...common,
  entryPoints: pages.map((name) => `src/pages/${name}`),
  format: 'esm',
  splitting: true,
  chunkNames: 'chunk-[hash]',
})
await build({
  ...common,
  entryPoints: { 'argon2-worker': 'src/crypto/argon2_worker.ts' },
  format: 'iife',
})
await build({ ...common, entryPoints: ['src/styles/site.css', 'src/styles/admin.css'], external: ['*.svg'] })
await cp('src/assets', out, { recursive: true })
