/** The vault: what a person's browsers share, encrypted under the vault key (docs/protocol.md, section 3). */
import type { SealedVault } from '../wire/api'
import { type Bytes, concat, equal, type Random, toHex } from '../wire/bytes'
import { encodeCbor } from '../wire/cbor'
import {
  type AccountKey,
  type ChainPosition,
  decodeVaultContent,
  encodeVaultContent,
  type Expected,
  type Pin,
  type Preferences,
  type ReadPosition,
  sameConversation,
  type VaultContent,
} from '../wire/objects'
import { openBox, sealBox } from './box'
import { ChainForked, LogMismatch, refusing, VaultAltered, VaultRolledBack } from './errors'
import { label } from './labels'

export type { Expected, Pin, Preferences, ReadPosition, VaultContent } from '../wire/objects'

/** What a new vault holds beside its keys. */
export const EMPTY_VAULT = {
  pins: [],
  positions: [],
  expected: [],
  preferences: { sharesRead: true },
} as const satisfies Partial<VaultContent>

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

/** Whom a link named under this folded name. */
export function expectedOf(content: VaultContent, name: string): Expected | undefined {
  return content.expected.find((one) => one.name === name)
}

export function withExpected(content: VaultContent, expected: Expected): VaultContent {
  const others = content.expected.filter(({ name }) => name !== expected.name)
  const all = [...others, expected].sort((one, other) => (one.name < other.name ? -1 : 1))
  return { ...content, expected: all }
}

export function withPreferences(content: VaultContent, preferences: Preferences): VaultContent {
  return { ...content, preferences }
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
 * Positions only move forward. Throws `LogMismatch` or `ChainForked` when the two checked the same place and found
 * different hashes.
 */
export function mergeVaults(vaults: {
  readonly base: VaultContent
  readonly mine: VaultContent
  readonly theirs: VaultContent
}): VaultContent {
  const { base, mine, theirs } = vaults
  return {
    ...theirs,
    accountKeys: mergeAccountKeys(mine.accountKeys, theirs.accountKeys),
    preferences: mergePreferences(base.preferences, mine.preferences, theirs.preferences),
    expected: mine.expected.reduce((content, my) => mergeExpected(base, content, my), theirs).expected,
    chain: mergeOwnChain(mine.chain, theirs.chain),
    pins: mergeItems(mine.pins, theirs.pins, (my, their) =>
      mergePins(pinOf(base, my.conversation), my, their),
    ),
    positions: mergeItems(mine.positions, theirs.positions, mergePositions),
  }
}

function mergeOwnChain(mine: ChainPosition, theirs: ChainPosition): ChainPosition {
  requireSameChain(mine, theirs)
  return mine.seq > theirs.seq ? mine : theirs
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

/**
 * Throws `ChainForked` when the two were shown different chains: a comparison of the one must not give way to the other.
 *
 * On one chain the later identity stands later, and a comparison of the one before says nothing about it.
 */
function mergePins(base: Pin | undefined, my: Pin, their: Pin): Pin {
  requireSameChain(my, their)
  const longer = my.seq > their.seq ? my : their
  if (!equal(my.identityPublic, their.identityPublic)) {
    if (base !== undefined && equal(base.identityPublic, longer.identityPublic)) throw new ChainForked()
    return longer
  }
  return { ...longer, verifiedAt: mergeVerified(base, my, their) }
}

function requireSameChain(my: ChainPosition, their: ChainPosition): void {
  if (my.seq === their.seq && !equal(my.head, their.head)) throw new ChainForked()
}

/** Of the same identity. What only one of the two changed counts; of two changes the later, and none is the latest. */
function mergeVerified(base: Pin | undefined, my: Pin, their: Pin): number {
  const same = base !== undefined && equal(base.identityPublic, my.identityPublic)
  const before = same ? base.verifiedAt : 0
  if (my.verifiedAt === before) return their.verifiedAt
  if (their.verifiedAt === before) return my.verifiedAt
  return Math.min(my.verifiedAt, their.verifiedAt) === 0 ? 0 : Math.max(my.verifiedAt, their.verifiedAt)
}

function mergeAccountKeys(mine: readonly AccountKey[], theirs: readonly AccountKey[]): readonly AccountKey[] {
  const more = mine.filter((my) => theirs.every(({ generation }) => generation !== my.generation))
  return [...theirs, ...more].toSorted((one, other) => one.generation - other.generation)
}

function mergePreferences(base: Preferences, mine: Preferences, theirs: Preferences): Preferences {
  return { sharesRead: mine.sharesRead === base.sharesRead ? theirs.sharesRead : mine.sharesRead }
}

function mergeExpected(base: VaultContent, content: VaultContent, my: Expected): VaultContent {
  const before = expectedOf(base, my.name)
  const isOld = before !== undefined && equal(before.fingerprint, my.fingerprint)
  return isOld && expectedOf(content, my.name) !== undefined ? content : withExpected(content, my)
}

function mergePositions(my: ReadPosition, their: ReadPosition): ReadPosition {
  if (my.checkedN === their.checkedN && !equal(my.logHash, their.logHash)) throw new LogMismatch()
  const ahead = my.checkedN > their.checkedN ? my : their
  return { ...ahead, readN: Math.max(my.readN, their.readN) }
}
