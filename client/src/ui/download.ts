/** Long enough for the slowest browser to have begun. */
const REVOKE_AFTER_MS = 10_000

/** Saves a text that this page made as a file. */
export function download(page: Document, file: { name: string; content: string; type: string }): void {
  const link = page.createElement('a')
  link.href = URL.createObjectURL(new Blob([file.content], { type: file.type }))
  link.download = file.name
  link.click()
  setTimeout(() => {
    URL.revokeObjectURL(link.href)
  }, REVOKE_AFTER_MS)
}
