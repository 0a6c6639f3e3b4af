/** Whom a friend's link named: kept in the vault until that friend is met, so that every browser of the person knows it. */
import { expectedOf, openVault, sealVault, withExpected } from '../crypto/vault'
import type { Api } from '../net/api'
import type { StoredKeys } from '../store/database'
import { seenBy } from '../store/seen'
import { decodeVault, encodeVault } from '../wire/api'
import { type Bytes, equal, type Random } from '../wire/bytes'
import { isConflict, MAX_ATTEMPTS } from './account_session'

/**
 * Writes down that whoever is met under that name must have this fingerprint. Once is enough; again changes nothing.
 *
 * Throws what the API throws, and `VaultAltered` where the keys of this browser do not open the vault any more.
 */
export async function expectFriend(
  friend: { readonly name: string; readonly fingerprint: Bytes },
  tools: { readonly api: Api; readonly random: Random; readonly keys: StoredKeys },
): Promise<void> {
  const { api, random, keys } = tools
  const { vaultKey, name } = keys
  for (let attempt = 1; ; attempt++) {
    const { vaultVersion: atLeast } = await seenBy(name)
    const vault = decodeVault(await api.request('GET', '/api/vault/'))
    const { version, content } = await openVault({ vaultKey, name, vault, atLeast })
    const known = expectedOf(content, friend.name)
    if (known !== undefined && equal(known.fingerprint, friend.fingerprint)) return
    const next = { version: version + 1, content: withExpected(content, friend) }
    try {
      await api.request(
        'PUT',
        '/api/vault/',
        encodeVault(await sealVault({ vaultKey, name, random, ...next })),
      )
      return
    } catch (error) {
      if (attempt >= MAX_ATTEMPTS || !isConflict(error)) throw error
    }
  }
}
