import { expect, test } from 'vitest'
import { ApiRefused, ApiUnreachable, createApi } from '../../src/net/api'

interface Seen {
  path: string
  init: RequestInit
}

function apiAnswering(answer: () => Response) {
  const seen: Seen[] = []
  const answering: typeof fetch = (path, init) => {
    seen.push({ path: path as string, init: init ?? {} })
    return Promise.resolve(answer())
  }
  return { api: createApi({ fetch: answering, csrfToken: 'first', timeoutMs: 1000 }), seen }
}

function headerOf(seen: Seen | undefined, name: string): string | null {
  return new Headers(seen?.init.headers).get(name)
}

test('a change carries the token, and the next one the token that the last answer brought', async () => {
  const { api, seen } = apiAnswering(() => Response.json({ ok: true }))

  await api.request('POST', '/api/log-in/', { a: 1 })
  api.useCsrfToken('second')
  await api.request('PUT', '/api/vault/', {})

  expect(seen.map((request) => headerOf(request, 'X-CSRFToken'))).toEqual(['first', 'second'])
  expect(seen[0]?.init.body).toBe('{"a":1}')
})

test('a refusal keeps its sentences, fields and waiting time', async () => {
  const refusal = { code: 'too_fast', message: 'Wait.', fields: { username: ['Taken.'] }, retry_after: 12 }
  const { api } = apiAnswering(() => Response.json(refusal, { status: 429 }))

  const error: unknown = await api.request('POST', '/api/sign-up/', {}).catch((reason: unknown) => reason)

  expect(error).toBeInstanceOf(ApiRefused)
  expect(error).toMatchObject({
    status: 429,
    code: 'too_fast',
    fields: { username: ['Taken.'] },
    retryAfter: 12,
  })
})

test('an error page, a cut line and an answer that is not JSON are all "unreachable", never a refusal', async () => {
  const page = apiAnswering(() => new Response('<h1>502</h1>', { status: 502 }))
  const junk = apiAnswering(() => new Response('<h1>Hello</h1>'))
  const cut = createApi({ fetch: () => Promise.reject(new TypeError('cut')), csrfToken: '', timeoutMs: 1000 })

  await expect(page.api.request('GET', '/api/keys/')).rejects.toThrow(ApiUnreachable)
  await expect(junk.api.request('GET', '/api/keys/')).rejects.toThrow(ApiUnreachable)
  await expect(cut.request('GET', '/api/keys/')).rejects.toThrow(ApiUnreachable)
})

test('a refusal in another form than the protocol names is none', async () => {
  const { api } = apiAnswering(() =>
    Response.json({ code: 5, fields: ['x'], retry_after: 'soon' }, { status: 400 }),
  )

  await expect(api.request('POST', '/api/sign-up/', {})).rejects.toThrow(ApiUnreachable)
})
