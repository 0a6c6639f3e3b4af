import decodeQR from 'qr/decode.js'
import encodeQR from 'qr'
import { expect, test } from 'vitest'
import { pathOf } from '../../src/ui/qr'

const TEXT = `securechat:1:${'A'.repeat(43)}:${'b'.repeat(43)}`

/** Paints the path as a browser would, `scale` pixels for a module. */
function paint(path: string, modules: number, scale: number): Uint8Array {
  const pixels = new Uint8Array(modules * scale * modules * scale * 4).fill(255)
  for (const [, x, y, width] of path.matchAll(/M(\d+) (\d+)h(\d+)v1h-\d+z/g))
    for (let dy = 0; dy < scale; dy += 1)
      for (let dx = 0; dx < Number(width) * scale; dx += 1) {
        const at = ((Number(y) * scale + dy) * modules * scale + Number(x) * scale + dx) * 4
        pixels.fill(0, at, at + 3)
      }
  return pixels
}

test('a reader finds in the picture what was written', () => {
  const rows = encodeQR(TEXT, 'raw', { ecc: 'medium', border: 4 })
  const side = rows.length * 4

  expect(decodeQR({ width: side, height: side, data: paint(pathOf(rows), rows.length, 4) })).toBe(TEXT)
})
