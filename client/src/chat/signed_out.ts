/** A browser that was signed out puts its keys away: what is kept in it can then be read with the password only. */
import { type Api, ApiRefused, ApiUnreachable } from '../net/api'
import { lockAccount } from '../store/account_store'
import type { Database } from '../store/database'
import type { Locks } from './outbox'

/** Held while a page asks for something that may give this browser another session: the one before ends meanwhile. */
export const SESSION_LOCK = 'securechat-session'

/** Asks the server once more, as a socket may only have belonged to a former session. Returns whether it is so. */
export async function putKeysAwayIfSignedOut(tools: {
  readonly api: Api
  readonly locks: Pick<Locks, 'request'>
  readonly database: Database
}): Promise<boolean> {
  let signedOut = false
  await tools.locks.request(SESSION_LOCK, async () => {
    signedOut = await isSignedOut(tools.api)
    if (signedOut) await lockAccount(tools.database)
  })
  return signedOut
}

async function isSignedOut(api: Api): Promise<boolean> {
  try {
    await api.request('GET', '/api/vault/')
    return false
  } catch (error) {
    if (error instanceof ApiRefused && (error.status === 401 || error.status === 403)) return true
    if (error instanceof ApiRefused || error instanceof ApiUnreachable) return false
    throw error
  }
}
