/** Reads QR codes with the camera, with the browser's own detector where it has one. Loaded when somebody scans. */

const EVERY_MS = 150
/** Wide enough for a code that fills a third of the picture, small enough to be read several times a second. */
const MAX_SIDE = 640

type Reader = (video: HTMLVideoElement) => Promise<string | null>

interface Detector {
  detect(source: CanvasImageSource): Promise<readonly { readonly rawValue: string }[]>
}

interface DetectorClass {
  new (options: { readonly formats: readonly string[] }): Detector
  getSupportedFormats(): Promise<readonly string[]>
}

export class NoCamera extends Error {
  override readonly name = 'NoCamera'
}

export interface Scan {
  /** Ends the scan and lets go of the camera. A second call does nothing. */
  stop(): void
}

/**
 * Shows the camera in `video` and gives each text that it reads to `found`, until that returns true.
 *
 * Throws `NoCamera` when there is none, or when the person does not allow it.
 */
export async function scan(video: HTMLVideoElement, found: (text: string) => boolean): Promise<Scan> {
  const stream = await camera()
  const stop = (): void => {
    for (const track of stream.getTracks()) track.stop()
    video.srcObject = null
  }
  try {
    video.srcObject = stream
    await video.play()
    const read = await reader()
    void look(stream, video, read, found).finally(stop)
  } catch (error) {
    stop()
    throw error
  }
  return { stop }
}

async function camera(): Promise<MediaStream> {
  // Missing where the page is not served securely.
  const devices = navigator.mediaDevices as MediaDevices | undefined
  if (devices === undefined) throw new NoCamera('This browser has no camera.')
  try {
    return await devices.getUserMedia({ video: { facingMode: 'environment' }, audio: false })
  } catch (error) {
    throw new NoCamera('No camera was given to this page.', { cause: error })
  }
}

async function look(
  stream: MediaStream,
  video: HTMLVideoElement,
  read: Reader,
  found: (text: string) => boolean,
): Promise<void> {
  while (stream.active) {
    // A frame that cannot be read is followed by another.
    const text = video.videoWidth === 0 ? null : await read(video).catch(() => null)
    if (text !== null && found(text)) return
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS))
  }
}

async function reader(): Promise<Reader> {
  const { BarcodeDetector } = globalThis as { BarcodeDetector?: DetectorClass }
  if (BarcodeDetector !== undefined && (await BarcodeDetector.getSupportedFormats()).includes('qr_code')) {
    const detector = new BarcodeDetector({ formats: ['qr_code'] })
    return async (video) => (await detector.detect(video))[0]?.rawValue ?? null
  }
  const { default: decodeQR } = await import('qr/decode.js')
  const canvas = document.createElement('canvas')
  return (video) => {
    const scale = Math.min(1, MAX_SIDE / Math.max(video.videoWidth, video.videoHeight))
    canvas.width = Math.round(video.videoWidth * scale)
    canvas.height = Math.round(video.videoHeight * scale)
    const context = canvas.getContext('2d', { willReadFrequently: true })
    if (context === null) return Promise.resolve(null)
    context.drawImage(video, 0, 0, canvas.width, canvas.height)
    const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height)
    try {
      return Promise.resolve(decodeQR({ data, width, height }))
    } catch {
      // A picture without a code.
      return Promise.resolve(null)
    }
  }
}
