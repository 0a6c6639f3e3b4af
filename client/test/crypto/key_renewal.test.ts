import { beforeAll, describe, expect, it } from 'vitest'

import {
  addDevice,
  type CreatedAccount,
  rotateWhenOld,
  unlockAccount,
  type Unlocked,
} from '../../src/crypto/account'
import {
  ChainForeign,
  ChainInvalid,
  DoorClosed,
  IdentityChanged,
  NoAccountKey,
  VaultAltered,
} from '../../src/crypto/errors'
import { renewAccount, resetAccount } from '../../src/crypto/key_renewal'
import { activeDevices, deviceOf, newestAccountKey, verifyKeyChain } from '../../src/crypto/key_chain'
import { openLocal, sealLocal } from '../../src/crypto/local_box'
import { passwordDoor } from '../../src/crypto/password'
import { recoveryDoor, recoveryHash } from '../../src/crypto/recovery_code'
import { openVault, sealVault, withExpected, withPreferences } from '../../src/crypto/vault'
import { importAesKey } from '../../src/crypto/box'
import type { Door, SealedVault } from '../../src/wire/api'
import { type Bytes, systemRandom, utf8 } from '../../src/wire/bytes'
import { countingRandom, NOW, ORIGIN, person, unlocked } from './people'

const random = systemRandom
const STRETCHED = utf8('alice'.padEnd(32, '.'))
const NEW_STRETCHED = utf8('another'.padEnd(32, '.'))
const CODE = new Uint8Array(20).fill(10)
const NEW_CODE = new Uint8Array(20).fill(99)
const DAY = 24 * 3600 * 1000
const EXPECTED = { origin: ORIGIN, name: 'alice' } as const

interface Stored {
  readonly chain: readonly Bytes[]
  readonly doors: readonly Door[]
  readonly vault: SealedVault
}

async function unlock(stored: Stored, secret: { password: Bytes } | { code: Bytes }): Promise<Unlocked> {
  const doorKey = 'code' in secret ? await recoveryDoor(secret.code) : await passwordDoor(secret.password)
  const door = stored.doors.find(({ kind }) => kind === doorKey.kind)
  if (door === undefined) throw new Error('There is no such door.')
  return unlockAccount({ ...EXPECTED, chain: stored.chain, vault: stored.vault, door, doorKey })
}

describe('an account', () => {
  let created: CreatedAccount
  let before: Unlocked
  let stored: Stored
  let phone: Bytes

  /** Alice with a phone, a name that a link told, and read positions not shared. */
  beforeAll(async () => {
    created = await person('alice', 10)
    const added = await addDevice(await unlocked(created), { now: NOW, random: countingRandom(77) })
    phone = added.browser.device.id
    const content = withPreferences(
      withExpected(added.unlocked.vault.content, { name: 'bob', fingerprint: new Uint8Array(32) }),
      { sharesRead: false },
    )
    before = { ...added.unlocked, vault: { version: 2, content } }
    const vaultKey = await importAesKey(before.vaultKey)
    stored = {
      chain: [...created.keys.chain, ...added.entries],
      doors: created.keys.doors,
      vault: await sealVault({ vaultKey, name: 'alice', version: 2, content, random }),
    }
    expect((await unlock(stored, { password: STRETCHED })).vault).toEqual(before.vault)
  })

  const renew = (revoke: readonly Bytes[], newStretched: Bytes | null): ReturnType<typeof renewAccount> =>
    renewAccount(before, { revoke, device: created.browser.device, newStretched, now: NOW + DAY, random })

  const after = ({ entries, doors, vault }: Awaited<ReturnType<typeof renewAccount>>): Stored => ({
    chain: [...stored.chain, ...entries],
    doors,
    vault,
  })

  it('renews its keys and signs a browser out, and the doors stay where they are', async () => {
    const renewed = await renew([phone], null)

    expect(renewed.entries).toHaveLength(2)
    for (const secret of [{ password: STRETCHED }, { code: CODE }]) {
      const opened = await unlock(after(renewed), secret)
      expect(opened).toEqual(renewed.unlocked)
      expect(opened.chain.vaultGeneration).toBe(2)
      expect(newestAccountKey(opened.chain)).toMatchObject({ generation: 2, at: NOW + DAY })
      expect(deviceOf(opened.chain, phone).ended?.by).toBe('revoke')
      expect(activeDevices(opened.chain).map(({ id }) => id)).toEqual([created.browser.device.id])
      expect(opened.vault.version).toBe(3)
      const { accountKeys, expected, preferences, doors } = opened.vault.content
      expect(accountKeys.slice(0, 1)).toEqual(before.vault.content.accountKeys)
      expect(accountKeys.map(({ generation }) => generation)).toEqual([1, 2])
      expect({ expected, preferences, doors }).toEqual({
        expected: before.vault.content.expected,
        preferences: before.vault.content.preferences,
        doors: before.vault.content.doors,
      })
    }
  })

  it('closes the vault to the key that signed-out browsers hold, and keeps their drafts', async () => {
    const { vault, browser, unlocked: opened } = await renew([phone], null)
    const draft = await sealLocal(created.browser.localKey, 'draft', utf8('not sent yet'), random)

    await expect(openVault({ vaultKey: created.browser.vaultKey, name: 'alice', vault })).rejects.toThrow(
      VaultAltered,
    )
    expect(await openVault({ vaultKey: browser.vaultKey, name: 'alice', vault })).toEqual(opened.vault)
    expect(browser.vaultGeneration).toBe(2)
    expect(browser.device).toBe(created.browser.device)
    expect(await openLocal(browser.localKey, 'draft', draft)).toEqual(utf8('not sent yet'))
  })

  it('takes a new password with the new keys, after which the old opens nothing', async () => {
    const renewed = await renew([phone], NEW_STRETCHED)

    expect(await unlock(after(renewed), { password: NEW_STRETCHED })).toEqual(renewed.unlocked)
    await unlock(after(renewed), { code: CODE })
    await expect(unlock(after(renewed), { password: STRETCHED })).rejects.toThrow(DoorClosed)
    await expect(unlock({ ...after(renewed), doors: stored.doors }, { password: STRETCHED })).rejects.toThrow(
      VaultAltered,
    )
  })

  it('renews its keys without signing anybody out', async () => {
    const renewed = await renew([], null)

    expect(renewed.entries).toHaveLength(1)
    expect(activeDevices(renewed.unlocked.chain)).toHaveLength(2)
  })

  it('signs nobody out twice, and no stranger', async () => {
    await expect(renew([phone, phone], null)).rejects.toThrow(ChainInvalid)
    await expect(renew([new Uint8Array(16)], null)).rejects.toThrow(ChainInvalid)
  })

  it('is refused with a chain that ends before the renewal, or with a vault of before', async () => {
    const renewed = await renew([phone], null)

    await expect(
      unlock({ ...after(renewed), chain: stored.chain }, { password: STRETCHED }),
    ).rejects.toThrow()
    await expect(unlock({ ...after(renewed), vault: stored.vault }, { password: STRETCHED })).rejects.toThrow(
      VaultAltered,
    )
    // The old vault with its old doors is all that it was, but for the new account key.
    await expect(unlock({ ...stored, chain: after(renewed).chain }, { password: STRETCHED })).rejects.toThrow(
      NoAccountKey,
    )
  })

  describe('whose account key is old', () => {
    const late = { now: NOW + 90 * DAY + 1, random: countingRandom(150) }

    it('gets another with the next browser, under the same vault key', async () => {
      const added = await addDevice(before, late)
      if (added.vault === null) throw new Error('The key has grown old.')

      expect(added.entries).toHaveLength(2)
      const now = { chain: [...stored.chain, ...added.entries], doors: stored.doors, vault: added.vault }
      const opened = await unlock(now, { password: STRETCHED })
      expect(opened).toEqual(added.unlocked)
      expect(newestAccountKey(opened.chain).generation).toBe(2)
      expect(opened.chain.vaultGeneration).toBe(1)
      expect(activeDevices(opened.chain)).toHaveLength(3)
      expect(added.browser.vaultGeneration).toBe(1)
      const { vaultKey } = created.browser
      expect(await openVault({ vaultKey, name: 'alice', vault: added.vault })).toEqual(opened.vault)
    })

    it('gets another without a new browser', async () => {
      const rotated = await rotateWhenOld(before, late)
      if (rotated === null) throw new Error('The key has grown old.')

      const now = { chain: [...stored.chain, ...rotated.entries], doors: stored.doors, vault: rotated.vault }
      expect(await unlock(now, { code: CODE })).toEqual(rotated.unlocked)
    })

    it('keeps it to the last day', async () => {
      expect(await rotateWhenOld(before, { ...late, now: NOW + 90 * DAY })).toBeNull()
      expect((await addDevice(before, { ...late, now: NOW + 90 * DAY })).vault).toBeNull()
    })
  })

  describe('that is lost', () => {
    const start = (entries: readonly Bytes[] = stored.chain): ReturnType<typeof resetAccount> =>
      resetAccount({
        ...EXPECTED,
        entries,
        vaultVersion: 2,
        stretched: NEW_STRETCHED,
        recoveryCode: NEW_CODE,
        now: NOW + DAY,
        random,
      })

    it('starts fresh on the same chain, with nothing of before', async () => {
      const fresh = await start()
      const now = { chain: [...stored.chain, ...fresh.entries], doors: fresh.doors, vault: fresh.vault }

      for (const secret of [{ password: NEW_STRETCHED }, { code: NEW_CODE }]) {
        const opened = await unlock(now, secret)
        expect(opened.chain).toEqual(fresh.chain)
        expect(opened.vault.version).toBe(3)
        expect(opened.vault.content).toMatchObject({ pins: [], positions: [], expected: [] })
        expect(opened.vault.content.accountKeys.map(({ generation }) => generation)).toEqual([2])
      }
      expect(fresh.recoveryHash).toEqual(await recoveryHash(NEW_CODE))
      expect(fresh.chain.vaultGeneration).toBe(2)
      expect(fresh.browser.vaultGeneration).toBe(2)
      expect(activeDevices(fresh.chain).map(({ id }) => id)).toEqual([fresh.browser.device.id])
      expect(fresh.chain.identities).toHaveLength(2)
      expect(fresh.browser.identityPublic).toEqual(fresh.chain.identityPublic)
      await expect(unlock(now, { password: STRETCHED })).rejects.toThrow(DoorClosed)
    })

    it('goes on from there', async () => {
      const fresh = await start()
      const now = { chain: [...stored.chain, ...fresh.entries], doors: fresh.doors, vault: fresh.vault }
      const opened = await unlock(now, { password: NEW_STRETCHED })

      const renewed = await renewAccount(opened, {
        revoke: [],
        device: fresh.browser.device,
        newStretched: null,
        now: NOW + 2 * DAY,
        random,
      })

      const { accountKeys } = renewed.unlocked.vault.content
      expect(accountKeys.map(({ generation }) => generation)).toEqual([2, 3])
      const later = { chain: [...now.chain, ...renewed.entries], doors: renewed.doors, vault: renewed.vault }
      expect(await unlock(later, { code: NEW_CODE })).toEqual(renewed.unlocked)
    })

    it('is not started fresh behind the back of who still has the password', async () => {
      const fresh = await start()
      const chain = [...stored.chain, ...fresh.entries]

      await expect(unlock({ ...stored, chain }, { password: STRETCHED })).rejects.toThrow(IdentityChanged)
    })

    it('is started fresh only where there was something, and for that name', async () => {
      await expect(start([])).rejects.toThrow(ChainInvalid)
      await expect(start((await person('mallory', 60)).keys.chain)).rejects.toThrow(ChainForeign)
      expect((await verifyKeyChain(stored.chain, EXPECTED)).identities).toHaveLength(1)
    })
  })
})
