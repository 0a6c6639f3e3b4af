/** JSON requests to the site's own `/api/` addresses. What comes back is `unknown` until `wire/` has checked it. */
import { decodeRefusal } from '../wire/refusal'

/** The server answered, and said no. `message` and `fields` are sentences for the person. */
export class ApiRefused extends Error {
  override readonly name = 'ApiRefused'

  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly fields: Readonly<Record<string, readonly string[]>>,
    /** Seconds, or null where waiting does not help. */
    readonly retryAfter: number | null,
  ) {
    super(message)
  }
}

/** No answer, or none that this page understands. */
export class ApiUnreachable extends Error {
  override readonly name = 'ApiUnreachable'
}

export type Method = 'GET' | 'POST' | 'PUT'

export interface Api {
  request(method: Method, path: string, body?: unknown): Promise<unknown>
  /** After a log-in the token of the page is no longer valid; every answer that signs in brings the next. */
  useCsrfToken(token: string): void
}

export interface ApiOptions {
  readonly fetch: typeof fetch
  readonly csrfToken: string
  readonly timeoutMs: number
}

/** The token that `base.html` wrote into the page. */
export function csrfTokenOf(page: Document): string {
  return page.querySelector<HTMLMetaElement>('meta[name="csrf-token"]')?.content ?? ''
}

export function createApi(options: ApiOptions): Api {
  let csrfToken = options.csrfToken
  return {
    useCsrfToken(token) {
      csrfToken = token
    },
    async request(method, path, body) {
      const headers: Record<string, string> = { Accept: 'application/json' }
      if (method !== 'GET') headers['X-CSRFToken'] = csrfToken
      if (body !== undefined) headers['Content-Type'] = 'application/json'
      const response = await answerOf(options, path, {
        method,
        headers,
        body: body === undefined ? null : JSON.stringify(body),
        credentials: 'same-origin',
        cache: 'no-store',
        redirect: 'error',
      })
      if (response.ok) return jsonOf(response)
      throw await refusalOf(response)
    },
  }
}

async function answerOf(options: ApiOptions, path: string, init: RequestInit): Promise<Response> {
  try {
    return await options.fetch(path, { ...init, signal: AbortSignal.timeout(options.timeoutMs) })
  } catch (error) {
    throw new ApiUnreachable('The server did not answer. Check your connection and try again.', {
      cause: error,
    })
  }
}

async function jsonOf(response: Response): Promise<unknown> {
  try {
    return await response.json()
  } catch (error) {
    throw new ApiUnreachable('The server gave an answer that this page does not understand.', {
      cause: error,
    })
  }
}

async function refusalOf(response: Response): Promise<ApiRefused | ApiUnreachable> {
  try {
    const { code, message, fields, retryAfter } = decodeRefusal(await response.json())
    return new ApiRefused(response.status, code, message, fields, retryAfter)
  } catch (error) {
    const message = `The server could not do this (${response.status}). Reload the page and try again.`
    return new ApiUnreachable(message, { cause: error })
  }
}
