/** The vault: what a person's browsers share, encrypted under the vault key (docs/protocol.md, section 3). */
import type { SealedVault } from '../wire/api'
import { type Bytes, concat, equal, type Random, toHex } from '../wire/bytes'
import { encodeCbor } from '../wire/cbor'
import {
  type ChainPosition,
  decodeVaultContent,
  encodeVaultContent,
  type Pin,
  type ReadPosition,
  sameConversation,
  type VaultContent,
} from '../wire/objects'
import { openBox, sealBox } from './box'
import { LogMismatch, refusing, VaultAltered, VaultRolledBack } from './errors'
import { label } from './labels'

export type { Pin, ReadPosition, VaultContent } from '../wire/objects'

export interface OpenVault {
  readonly version: number
  readonly content: VaultContent
}

/** `version` is the stored one plus 1; the server takes no other. */
export async function sealVault(vault: {
  readonly vaultKey: CryptoKey
  readonly name: string
  readonly version: number
  readonly content: VaultContent
  readonly random: Random
}): Promise<SealedVault> {
  const { version } = vault
  const plaintext = encodeVaultContent(vault.content)
  return {
    version,
    box: await sealBox(vault.vaultKey, vaultAad(vault.name, version), plaintext, vault.random),
  }
}

/** Throws `VaultAltered`, or `VaultRolledBack` when a version of at least `atLeast` was seen before. */
export async function openVault(opening: {
  readonly vaultKey: CryptoKey
  readonly name: string
  readonly vault: SealedVault
  readonly atLeast?: number
}): Promise<OpenVault> {
  const { version, box } = opening.vault
  const altered = (): VaultAltered => new VaultAltered()
  const plaintext = await openBox(opening.vaultKey, vaultAad(opening.name, version), box, altered)
  const content = await refusing(altered, () => decodeVaultContent(plaintext))
  checkVaultVersion(opening.atLeast ?? 1, version)
  return { version, content }
}

/** Throws `VaultRolledBack` when the vault at hand is older than one that a signed object of this account names. */
export function checkVaultVersion(seen: number, atHand: number): void {
  if (seen > atHand) throw new VaultRolledBack()
}

function vaultAad(name: string, version: number): Bytes {
  return concat(label('vault'), encodeCbor([name, version]))
}

export function pinOf(content: VaultContent, conversation: Bytes): Pin | undefined {
  return content.pins.find((pin) => sameConversation(pin, conversation))
}

export function positionOf(content: VaultContent, conversation: Bytes): ReadPosition | undefined {
  return content.positions.find((position) => sameConversation(position, conversation))
}

export function withPin(content: VaultContent, pin: Pin): VaultContent {
  return { ...content, pins: withItem(content.pins, pin) }
}

export function withPosition(content: VaultContent, position: ReadPosition): VaultContent {
  return { ...content, positions: withItem(content.positions, position) }
}

export function withChainPosition(content: VaultContent, chain: ChainPosition): VaultContent {
  return { ...content, chain }
}

interface OfConversation {
  readonly conversation: Bytes
}

function withItem<T extends OfConversation>(items: readonly T[], item: T): readonly T[] {
  const others = items.filter((one) => !sameConversation(one, item.conversation))
  return sorted([...others, item])
}

function sorted<T extends OfConversation>(items: readonly T[]): readonly T[] {
  const order = (item: T): string => toHex(item.conversation)
  return items.toSorted((one, other) => (order(one) < order(other) ? -1 : 1))
}

/**
 * One vault from two that were both made from `base`: what `mine` changed, on top of `theirs`.
 *
 * Positions only move forward. Throws `LogMismatch` when the two checked the same place and found different hashes.
 */
export function mergeVaults(vaults: {
  readonly base: VaultContent
  readonly mine: VaultContent
  readonly theirs: VaultContent
}): VaultContent {
  const { base, mine, theirs } = vaults
  return {
    ...theirs,
    chain: mine.chain.seq > theirs.chain.seq ? mine.chain : theirs.chain,
    pins: mergeItems(mine.pins, theirs.pins, (my, their) =>
      mergePins(pinOf(base, my.conversation), my, their),
    ),
    positions: mergeItems(mine.positions, theirs.positions, mergePositions),
  }
}

function mergeItems<T extends OfConversation>(
  mine: readonly T[],
  theirs: readonly T[],
  merge: (my: T, their: T) => T,
): readonly T[] {
  return mine.reduce((items, my) => {
    const their = items.find((item) => sameConversation(item, my.conversation))
    return withItem(items, their === undefined ? my : merge(my, their))
  }, theirs)
}

function mergePins(base: Pin | undefined, my: Pin, their: Pin): Pin {
  const changedHere = base === undefined || !samePinned(base, my)
  const chosen = changedHere ? my : their
  if (!equal(my.identityPublic, their.identityPublic)) return chosen
  const { seq, head } = my.seq > their.seq ? my : their
  return { ...chosen, seq, head }
}

function samePinned(one: Pin, other: Pin): boolean {
  return equal(one.identityPublic, other.identityPublic) && one.verified === other.verified
}

function mergePositions(my: ReadPosition, their: ReadPosition): ReadPosition {
  if (my.checkedN === their.checkedN && !equal(my.logHash, their.logHash)) throw new LogMismatch()
  const ahead = my.checkedN > their.checkedN ? my : their
  return { ...ahead, readN: Math.max(my.readN, their.readN) }
}
