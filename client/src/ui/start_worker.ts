/**
 * Starts the Argon2 worker: the one place where our own code hands the browser the address of a script.
 *
 * Pages demand Trusted Types, so such an address has to come from a policy; ours lets this one through and no other.
 * No browser checks a worker's integrity by itself. The page compares its bytes with the hash that the build put in here
 * and then starts it from the cache that it was just read into.
 */
import { ApiUnreachable } from '../net/api'
import { toHex } from '../wire/bytes'

/** Of the built worker, in hex; client/build.mjs writes it. */
declare const ARGON2_WORKER_SHA384: string

/** What is not in TypeScript's own types yet. The address stays a string for them. */
interface TrustedTypePolicies {
  createPolicy(name: string, rules: { createScriptURL(address: string): string }): UrlPolicy
}
interface UrlPolicy {
  createScriptURL(address: string): string
}

const POLICY = 'securechat-worker'
const WORKER_PATH = /^\/static\/securechat\/argon2-worker(\.[0-9a-f]{12})?\.js$/

/** The worker is not the one that this page was built with. */
export class WorkerAltered extends Error {
  override readonly name = 'WorkerAltered'
}

/** Throws `WorkerAltered`, and `ApiUnreachable` when it cannot be read. */
export async function startArgon2Worker(address: string): Promise<Worker> {
  const trusted = trustedAddress(address)
  await assureUnaltered(address, ARGON2_WORKER_SHA384)
  return new Worker(trusted)
}

/** Throws for every address but that of our worker on this server. */
export function ownWorkerAddress(address: string, origin: string): string {
  const url = new URL(address, origin)
  if (url.origin !== origin || !WORKER_PATH.test(url.pathname) || url.search !== '')
    throw new TypeError('Only our own worker is started.')
  return url.href
}

const rules = { createScriptURL: (address: string) => ownWorkerAddress(address, location.origin) }
let policy: UrlPolicy | null = null

/** Without Trusted Types in the browser, the same rule on a plain string. */
function trustedAddress(address: string): string {
  const { trustedTypes } = globalThis as { readonly trustedTypes?: TrustedTypePolicies }
  policy ??= trustedTypes?.createPolicy(POLICY, rules) ?? rules
  return policy.createScriptURL(address)
}

async function assureUnaltered(address: string, sha384: string): Promise<void> {
  let bytes: ArrayBuffer
  try {
    const response = await fetch(address, { cache: 'force-cache' })
    if (!response.ok) throw new TypeError(`It answered ${response.status}.`)
    bytes = await response.arrayBuffer()
  } catch (error) {
    throw new ApiUnreachable('The server did not answer. Check your connection and try again.', {
      cause: error,
    })
  }
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-384', bytes))
  if (toHex(digest) !== sha384) throw new WorkerAltered()
}
