import type { Bytes } from '../wire/bytes'
import { StretchFailed } from './errors'

export interface StretchRequest {
  readonly id: number
  readonly password: Bytes
  readonly salt: Bytes
}

export interface StretchAnswer {
  readonly id: number
  readonly stretched: Bytes | null
}

let lastId = 0

/** Argon2id in a worker made from argon2_worker.ts: about a third of a second and 64 MiB. Throws `StretchFailed`. */
export function stretch(
  worker: Worker,
  input: { readonly password: Bytes; readonly salt: Bytes },
): Promise<Bytes> {
  lastId += 1
  const id = lastId
  return new Promise((resolve, reject) => {
    const done = new AbortController()
    const onAnswer = ({ data }: MessageEvent<StretchAnswer>): void => {
      if (data.id !== id) return
      done.abort()
      if (data.stretched === null) reject(new StretchFailed())
      else resolve(data.stretched)
    }
    const onError = (): void => {
      done.abort()
      reject(new StretchFailed())
    }
    worker.addEventListener('message', onAnswer, { signal: done.signal })
    worker.addEventListener('error', onError, { signal: done.signal })
    worker.postMessage({ id, ...input } satisfies StretchRequest)
  })
}
