import { beforeAll, describe, expect, it } from 'vitest'

import {
  addDevice,
  changePassword,
  checkRecoveryCode,
  type CreatedAccount,
  finishRecovery,
  keysForDevice,
  replaceRecoveryCode,
  unlockAccount,
  type Unlocked,
} from '../../src/crypto/account'
import { createDevice } from '../../src/crypto/device'
import type { DoorKey } from '../../src/crypto/doors'
import {
  ChainRolledBack,
  CryptoRefusal,
  DoorClosed,
  UnknownDevice,
  VaultAltered,
} from '../../src/crypto/errors'
import { hasActiveDevice, verifyKeyChain } from '../../src/crypto/key_chain'
import { openLocal, sealLocal } from '../../src/crypto/local_box'
import { passwordDoor } from '../../src/crypto/password'
import { recoveryDoor, recoveryHash } from '../../src/crypto/recovery_code'
import { openVault, withPin } from '../../src/crypto/vault'
import type { Door, SealedVault } from '../../src/wire/api'
import { type Bytes, utf8 } from '../../src/wire/bytes'
import { countingRandom, NOW, ORIGIN, person } from './people'

const STRETCHED = utf8('alice'.padEnd(32, '.'))
const NEW_STRETCHED = utf8('another'.padEnd(32, '.'))
const CODE = new Uint8Array(20).fill(10)
const NEW_CODE = new Uint8Array(20).fill(99)

interface Stored {
  readonly chain: readonly Bytes[]
  readonly doors: readonly Door[]
  readonly vault: SealedVault
}

function unlock(stored: Stored, doorKey: DoorKey): Promise<Unlocked> {
  const door = stored.doors.find(({ kind }) => kind === doorKey.kind)
  if (door === undefined) throw new Error('There is no such door.')
  return unlockAccount({
    origin: ORIGIN,
    name: 'alice',
    chain: stored.chain,
    vault: stored.vault,
    door,
    doorKey,
  })
}

describe('an account', () => {
  let created: CreatedAccount
  let stored: Stored

  beforeAll(async () => {
    created = await person('alice', 10)
    stored = created.keys
  })

  it('opens by the password and by the recovery code', async () => {
    const byPassword = await unlock(stored, await passwordDoor(STRETCHED))
    const byCode = await unlock(stored, await recoveryDoor(CODE))

    expect(byCode).toEqual(byPassword)
    expect(byPassword.vault).toEqual(created.vault)
    expect(created.keys.recoveryHash).toEqual(await recoveryHash(CODE))
  })

  it('stays shut for anybody else', async () => {
    await expect(unlock(stored, await passwordDoor(NEW_STRETCHED))).rejects.toThrow(DoorClosed)
    await expect(unlock(stored, await recoveryDoor(NEW_CODE))).rejects.toThrow(DoorClosed)
  })

  it('begins with this browser on its chain', () => {
    expect(hasActiveDevice(created.chain, created.browser.device.id)).toBe(true)
    expect(created.vault.content.chain).toEqual({ seq: 2, head: created.chain.head })
  })

  it('keeps keys in the browser that cannot be read out, and that open the vault', async () => {
    const { vaultKey, localKey, device } = created.browser

    expect(device.key.kind).toBe('webcrypto')
    expect(vaultKey.extractable || localKey.extractable).toBe(false)
    expect(structuredClone(created.browser)).toEqual(created.browser)
    expect(await openVault({ vaultKey, name: 'alice', vault: stored.vault })).toEqual(created.vault)
  })

  it('is refused with the vault or the chain of another', async () => {
    const mallory = await person('alice', 60)
    const doorKey = await passwordDoor(STRETCHED)

    await expect(unlock({ ...stored, vault: mallory.keys.vault }, doorKey)).rejects.toThrow(VaultAltered)
    await expect(unlock({ ...stored, chain: mallory.keys.chain }, doorKey)).rejects.toThrow(CryptoRefusal)
    await expect(unlock({ ...stored, chain: stored.chain.slice(0, 1) }, doorKey)).rejects.toThrow(
      ChainRolledBack,
    )
  })

  it('takes another browser', async () => {
    const unlocked = await unlock(stored, await passwordDoor(STRETCHED))

    const added = await addDevice(unlocked, { now: NOW, random: countingRandom(1) })
    const chain = await verifyKeyChain([...stored.chain, ...added.entries], { origin: ORIGIN, name: 'alice' })

    expect(added.vault).toBeNull()
    expect(hasActiveDevice(chain, added.browser.device.id)).toBe(true)
    expect(chain).toEqual(added.unlocked.chain)
  })

  it('gives a browser that is on the chain its keys again, and no other', async () => {
    const unlocked = await unlock(stored, await passwordDoor(STRETCHED))
    const draft = await sealLocal(created.browser.localKey, 'draft', utf8('not sent yet'), countingRandom(1))

    const again = await keysForDevice(unlocked, created.browser.device)

    expect(again.device).toBe(created.browser.device)
    expect(again.vaultGeneration).toBe(1)
    expect(await openLocal(again.localKey, 'draft', draft)).toEqual(utf8('not sent yet'))
    await expect(keysForDevice(unlocked, await createDevice(countingRandom()))).rejects.toThrow(UnknownDevice)
  })

  it('opens by the new password only, once it was changed', async () => {
    const unlocked = await unlock(stored, await passwordDoor(STRETCHED))

    const changed = await changePassword(unlocked, { newStretched: NEW_STRETCHED, random: countingRandom(1) })
    const [, recovery] = stored.doors
    const now = { ...stored, vault: changed.vault, doors: recovery ? [changed.door, recovery] : [] }

    expect(changed.vault.version).toBe(2)
    expect((await unlock(now, await passwordDoor(NEW_STRETCHED))).vault).toEqual(changed.unlocked.vault)
    await unlock(now, await recoveryDoor(CODE))
    await expect(unlock(now, await passwordDoor(STRETCHED))).rejects.toThrow(DoorClosed)
    await expect(unlock({ ...now, doors: stored.doors }, await passwordDoor(STRETCHED))).rejects.toThrow(
      VaultAltered,
    )
  })

  it('knows its recovery code from others, also after it was replaced', async () => {
    const unlocked = await unlock(stored, await passwordDoor(STRETCHED))
    const replaced = await replaceRecoveryCode(unlocked, { newCode: NEW_CODE, random: countingRandom(1) })

    await checkRecoveryCode(unlocked.vault.content, CODE, unlocked.name)
    await checkRecoveryCode(replaced.unlocked.vault.content, NEW_CODE, unlocked.name)
    await expect(checkRecoveryCode(unlocked.vault.content, NEW_CODE, unlocked.name)).rejects.toThrow(
      DoorClosed,
    )
    await expect(checkRecoveryCode(replaced.unlocked.vault.content, CODE, unlocked.name)).rejects.toThrow(
      DoorClosed,
    )
    expect(replaced.recoveryHash).toEqual(await recoveryHash(NEW_CODE))
  })

  it('is recovered with new doors, the same vault and this browser on the chain', async () => {
    const unlocked = await unlock(stored, await recoveryDoor(CODE))
    const pin = {
      conversation: new Uint8Array(16),
      identityPublic: new Uint8Array(32),
      fingerprint: new Uint8Array(32),
      verifiedAt: NOW,
      seq: 1,
      head: new Uint8Array(32),
    }
    const { version, content } = unlocked.vault
    const pinned = { ...unlocked, vault: { version, content: withPin(content, pin) } }

    const finished = await finishRecovery(pinned, {
      newStretched: NEW_STRETCHED,
      newCode: NEW_CODE,
      now: NOW,
      random: countingRandom(1),
    })
    const chain = [...stored.chain, finished.entry]
    const now = { chain, doors: finished.doors, vault: finished.vault }

    for (const key of [await passwordDoor(NEW_STRETCHED), await recoveryDoor(NEW_CODE)]) {
      const again = await unlock(now, key)
      expect(again.vault.content.pins).toEqual([pin])
      expect(hasActiveDevice(again.chain, finished.browser.device.id)).toBe(true)
    }
    await expect(unlock({ ...now, chain: stored.chain }, await recoveryDoor(NEW_CODE))).rejects.toThrow(
      ChainRolledBack,
    )
  })
})
