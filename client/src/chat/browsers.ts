/**
 * The browsers of a person: which there are, signing one out, renewing all keys, and this one's own end.
 *
 * Which devices stand is what the key chain says, and it is checked here. The server adds what it noted about each
 * log-in: a name, an address, times.
 */
import { renewAccount } from '../crypto/key_renewal'
import { IdentityChanged } from '../crypto/errors'
import {
  type ChainDevice,
  type ChainPin,
  deviceOf,
  hasActiveDevice,
  requirePinned,
  retireEntry,
  type VerifiedChain,
  verifyKeyChain,
  verifyOwnKeyChain,
} from '../crypto/key_chain'
import { openVault } from '../crypto/vault'
import { type Api, ApiRefused } from '../net/api'
import { loadAccount, loadDevice, saveAccount } from '../store/account_store'
import type { AccountRecord, Database, DeviceRecord } from '../store/database'
import { openDatabase } from '../store/database'
import { seenBy } from '../store/seen'
import {
  type BrowserSession,
  decodeBrowsers,
  decodeKeys,
  decodeRenewed,
  encodeChainEntries,
  encodeRenewal,
  encodeSessionEnd,
} from '../wire/api'
import { type Bytes, equal } from '../wire/bytes'
import {
  type AccountTools,
  authKeys,
  type Credentials,
  foldedName,
  isConflict,
  MAX_ATTEMPTS,
  withUnlocked,
} from './account_session'

export interface KnownBrowser {
  /** Its key on the chain, or null for a log-in that has none. */
  readonly device: ChainDevice | null
  /** What the server noted; the newest log-in first, none where nobody is logged in there. */
  readonly sessions: readonly BrowserSession[]
  readonly isThis: boolean
}

export interface Browsers {
  /** This one first, then by their place on the chain, the newest first, then log-ins without a device. */
  readonly standing: readonly KnownBrowser[]
  /** The last that ended first. */
  readonly ended: readonly ChainDevice[]
}

/** Throws what the checks of the key chain throw. `account` is undefined where this browser has no keys. */
export async function listBrowsers(who: {
  readonly api: Api
  readonly origin: string
  readonly name: string
  readonly account: AccountRecord | undefined
}): Promise<Browsers> {
  const { api, origin, name, account } = who
  const seen = await seenBy(name)
  const keys = decodeKeys(await api.request('GET', '/api/keys/'))
  const { browsers } = decodeBrowsers(await api.request('GET', '/api/browsers/'))
  const own = account?.browser
  if (own === undefined) return arrange(await verifyKeyChain(keys.chain, { origin, name }), browsers, null)
  const atLeast = seen.vaultVersion
  const vault = await openVault({ vaultKey: own.vaultKey, name, vault: keys.vault, atLeast })
  const pinned: ChainPin = { identityPublic: own.identityPublic, ...vault.content.chain }
  const chain = await verifyOwnKeyChain(keys.chain, { origin, name, pinned })
  if (seen.chain !== null) requirePinned(chain, seen.chain)
  return arrange(chain, browsers, own.device.id)
}

function arrange(
  chain: VerifiedChain,
  sessions: readonly BrowserSession[],
  ownDevice: Bytes | null,
): Browsers {
  const of = (device: ChainDevice): KnownBrowser => {
    const here = sessions.filter((session) => session.device !== null && equal(session.device, device.id))
    const isThis = ownDevice === null ? here.some((one) => one.isThis) : equal(ownDevice, device.id)
    return { device, sessions: here, isThis }
  }
  const all = [...chain.devices.values()].reverse()
  const standing = all.filter(({ ended }) => ended === null).map(of)
  const placed = new Set(standing.flatMap((browser) => browser.sessions))
  const others = sessions
    .filter((session) => !placed.has(session))
    .map((session) => ({ device: null, sessions: [session], isThis: session.isThis && ownDevice === null }))
  const browsers = [...standing, ...others]
  return {
    standing: [...browsers.filter(({ isThis }) => isThis), ...browsers.filter(({ isThis }) => !isThis)],
    ended: all
      .filter(({ ended }) => ended !== null)
      .toSorted((one, other) => (other.ended?.seq ?? 0) - (one.ended?.seq ?? 0)),
  }
}

/** Ends a log-in that has no device. One that ended already is no mistake. */
export async function endSession(api: Api, session: string): Promise<void> {
  try {
    await api.request('POST', '/api/browsers/end/', encodeSessionEnd(session))
  } catch (error) {
    if (!(error instanceof ApiRefused && error.status === 404)) throw error
  }
}

export interface Renewal extends Credentials {
  /** Null keeps the password. */
  readonly newPassword: string | null
  /** Device ids, or every one but this browser's. */
  readonly revoke: readonly Bytes[] | 'others'
}

/** This browser's own keys are gone: it cannot go on after a renewal without a log-in. */
export class NoKeysHere extends Error {
  override readonly name = 'NoKeysHere'
}

/**
 * Renews vault key and account key and signs browsers out; this one goes on with the new keys.
 *
 * Throws `NoKeysHere`, `DoorClosed` when the password is another, and what the server refuses.
 */
export async function renew(what: Renewal, tools: AccountTools): Promise<void> {
  const database = await openDatabase(foldedName(what.username))
  try {
    const account = await loadAccount(database)
    if (account === undefined) throw new NoKeysHere('This browser has no keys.')
    await renewWith(what, account, database, tools)
  } finally {
    database.close()
  }
}

async function renewWith(
  what: Renewal,
  account: AccountRecord,
  database: Database,
  tools: AccountTools,
): Promise<void> {
  const { username } = account
  const { device } = account.browser
  const proof = await authKeys(what, tools)
  await withUnlocked(username, proof.stretched, tools, async (unlocked) => {
    const others = [...unlocked.chain.devices.values()].filter((one) => !equal(one.id, device.id))
    const standing = others.filter(({ ended }) => ended === null).map(({ id }) => id)
    const revoke =
      what.revoke === 'others' ? standing : what.revoke.filter((id) => hasActiveDevice(unlocked.chain, id))
    tools.onStep('making_keys')
    const { newStretched } = proof
    const { now, random } = tools
    const renewed = await renewAccount(unlocked, { revoke, device, newStretched, now: now(), random })
    tools.onStep('sending')
    const answer = await tools.api.request(
      'POST',
      '/api/keys/renew/',
      encodeRenewal({ ...proof, ...renewed }),
    )
    tools.api.useCsrfToken(decodeRenewed(answer).csrfToken)
    await saveAccount(database, { username, browser: renewed.browser })
  })
}

/**
 * Ends this browser's own device on the key chain, signed by that device. Nothing happens where it has none, or it ended.
 *
 * Throws what the API and the checks of the chain throw, also for a chain without this device or of another identity:
 * the person decides then whether to go without.
 */
export async function retireThisBrowser(who: {
  readonly api: Api
  readonly origin: string
  readonly name: string
  readonly now: () => number
}): Promise<void> {
  const kept = await keptDevice(who.name)
  if (kept === undefined) return
  const seen = await seenBy(who.name)
  for (let attempt = 1; ; attempt++) {
    const keys = decodeKeys(await who.api.request('GET', '/api/keys/'))
    const chain = await verifyKeyChain(keys.chain, who)
    if (!equal(chain.identityPublic, kept.identityPublic)) throw new IdentityChanged()
    if (seen.chain !== null) requirePinned(chain, seen.chain)
    if (deviceOf(chain, kept.device.id).ended !== null) return
    const entry = await retireEntry(chain, kept.device, who.now())
    try {
      const body = encodeChainEntries({ entries: [entry], vault: null })
      await who.api.request('POST', '/api/key-chain/', body)
      return
    } catch (error) {
      if (attempt >= MAX_ATTEMPTS || !isConflict(error)) throw error
    }
  }
}

async function keptDevice(name: string): Promise<DeviceRecord | undefined> {
  const database = await openDatabase(name)
  try {
    return await loadDevice(database)
  } finally {
    database.close()
  }
}
