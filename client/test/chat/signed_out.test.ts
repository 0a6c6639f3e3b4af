/** When a browser that the server calls signed out puts its keys away. */
import 'fake-indexeddb/auto'
import { expect, test } from 'vitest'
import { putKeysAwayIfSignedOut, SESSION_LOCK } from '../../src/chat/signed_out'
import { ApiRefused, ApiUnreachable } from '../../src/net/api'
import { isLocked, loadAccount, saveAccount } from '../../src/store/account_store'
import { type Database } from '../../src/store/database'
import { cast } from './cast'

async function afterAsking(answer: () => unknown): Promise<{ said: boolean; database: Database }> {
  const { database, keys } = (await cast()).alice
  await saveAccount(database, { username: keys.name, browser: keys })
  const said = await putKeysAwayIfSignedOut({
    api: { request: () => Promise.resolve().then(answer), useCsrfToken: () => undefined },
    locks: {
      request: (name, held) => {
        expect(name).toBe(SESSION_LOCK)
        return held()
      },
    },
    database,
  })
  return { said, database }
}

function refused(status: number): never {
  throw new ApiRefused(status, 'refused', 'No.', {}, null)
}

test('with no session left, what reads is put away, and what is needed to come back stays', async () => {
  const { said, database } = await afterAsking(() => refused(401))

  expect(said).toBe(true)
  expect(await loadAccount(database)).toBeUndefined()
  expect(await isLocked(database)).toBe(true)
})

test.each([
  ['the session goes on under another key', () => ({})],
  ['the server is out of order', () => refused(503)],
  [
    'nobody answers',
    () => {
      throw new ApiUnreachable('No answer.')
    },
  ],
])('the keys stay where %s', async (_, answer) => {
  const { said, database } = await afterAsking(answer)

  expect(said).toBe(false)
  expect(await loadAccount(database)).toBeDefined()
})
