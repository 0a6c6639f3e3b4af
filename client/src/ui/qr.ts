/** QR codes as pictures made of nodes: nothing is fetched, and no markup is parsed. Loaded only where one is shown. */
import encodeQR from 'qr'

const SVG = 'http://www.w3.org/2000/svg'
/** The quiet zone that readers need (ISO/IEC 18004), in modules. */
const BORDER = 4

/** `label` says to those who cannot see it what it is. Dark on white in both themes, as readers want it. */
export function qrCode(text: string, label: string): SVGSVGElement {
  const rows = encodeQR(text, 'raw', { ecc: 'medium', border: BORDER })
  const svg = document.createElementNS(SVG, 'svg')
  svg.setAttribute('viewBox', `0 0 ${rows.length} ${rows.length}`)
  svg.setAttribute('class', 'qr')
  svg.setAttribute('role', 'img')
  svg.setAttribute('aria-label', label)
  svg.setAttribute('shape-rendering', 'crispEdges')
  const path = document.createElementNS(SVG, 'path')
  path.setAttribute('d', pathOf(rows))
  svg.append(path)
  return svg
}

/** One stroke for each run of dark modules. */
export function pathOf(rows: readonly (readonly boolean[])[]): string {
  return rows
    .map((row, y) =>
      runsOf(row)
        .map(([from, length]) => `M${from} ${y}h${length}v1h-${length}z`)
        .join(''),
    )
    .join('')
}

function runsOf(row: readonly boolean[]): (readonly [from: number, length: number])[] {
  const runs: (readonly [number, number])[] = []
  for (let at = 0; at < row.length; at += 1) {
    if (row[at] !== true) continue
    const end = row.indexOf(false, at)
    const to = end === -1 ? row.length : end
    runs.push([at, to - at])
    at = to
  }
  return runs
}
