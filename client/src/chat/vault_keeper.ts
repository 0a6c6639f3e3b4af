/**
 * The person's vault while a page is open: pins and positions go in, and come back merged with what other browsers put there.
 *
 * A changed pin is written at once; positions are written at most every five minutes and when the page is left,
 * because each write is a new version that every other browser has to fetch.
 */
import { KeysRenewed, VaultAltered } from '../crypto/errors'
import { verifyKeyChain } from '../crypto/key_chain'
import {
  checkVaultVersion,
  mergeVaults,
  openVault,
  type OpenVault,
  positionOf,
  sealVault,
  withPosition,
} from '../crypto/vault'
import { type Api, ApiRefused, ApiUnreachable } from '../net/api'
import type { Clock } from '../net/clock'
import type { Database, StoredKeys } from '../store/database'
import { loadSeen, noteSeen } from '../store/seen'
import { decodeKeys, decodeVault, encodeVault } from '../wire/api'
import { equal, type Random, uuidFromBytes } from '../wire/bytes'
import type { ReadPosition, VaultContent } from '../wire/objects'
import { OwnKeysRefused } from './alarms'

const POSITIONS_EVERY_MS = 5 * 60_000
const RETRY_MS = 30_000
const ATTEMPTS = 5

interface Change {
  readonly apply: (content: VaultContent) => VaultContent
  readonly onSaved: () => Promise<void>
}

export interface VaultTools {
  readonly api: Api
  readonly clock: Clock
  readonly random: Random
  readonly keys: StoredKeys
  readonly database: Database
  /** A check of the vault failed, or the server no longer knows the session. */
  readonly onProblem: (error: unknown) => void
}

export class VaultKeeper {
  #stored: OpenVault | null = null
  /** What `content` gives, until something changes. */
  #content: VaultContent | null = null
  #changes: readonly Change[] = []
  readonly #positions = new Map<string, ReadPosition>()
  #cancel: () => void = () => undefined
  #dueAt = Infinity
  #work: Promise<void> = Promise.resolve()

  constructor(private readonly tools: VaultTools) {}

  /** What is stored, with what is not written yet. Throws until `load` has succeeded. */
  get content(): VaultContent {
    this.#content ??= this.#withChanges(this.#known().content)
    return this.#content
  }

  /** The newest version that this browser has seen. */
  get version(): number {
    return this.#known().version
  }

  get isLoaded(): boolean {
    return this.#stored !== null
  }

  /** Fetches what is stored now. Throws `VaultAltered`, `VaultRolledBack`, `KeysRenewed`, and what the API throws. */
  load(): Promise<void> {
    return this.#serially(() => this.#fetch()).then(() => {
      if (this.#changes.length > 0) this.#schedule(0)
    })
  }

  /** One's own browsers sign which vault they saw: the server cannot hand out an older one unnoticed. */
  async requireSeen(version: number): Promise<void> {
    if (version > this.version) await this.load()
    checkVaultVersion(version, this.version)
  }

  /** For pins, preferences and the chain position: written at once. `onSaved` is called when the server has it. */
  change(apply: Change['apply'], onSaved: Change['onSaved'] = () => Promise.resolve()): void {
    this.#changes = [...this.#changes, { apply, onSaved }]
    this.#content = null
    this.#schedule(0)
  }

  /** For positions in logs: written now and then. */
  notePosition(position: ReadPosition): void {
    this.#positions.set(uuidFromBytes(position.conversation), position)
    this.#content = null
    this.#schedule(POSITIONS_EVERY_MS)
  }

  /** Writes now what waits, for a page that is being left. */
  flush(): Promise<void> {
    this.#cancel()
    this.#dueAt = Infinity
    return this.#serially(async () => {
      if (this.#stored !== null && (this.#changes.length > 0 || this.#positions.size > 0)) await this.#write()
    }).catch((error: unknown) => {
      if (error instanceof ApiUnreachable || isConflict(error)) this.#schedule(RETRY_MS)
      else this.tools.onProblem(error)
    })
  }

  #schedule(delayMs: number): void {
    const dueAt = this.tools.clock.now() + delayMs
    if (dueAt >= this.#dueAt) return
    this.#cancel()
    this.#dueAt = dueAt
    this.#cancel = this.tools.clock.after(delayMs, () => void this.flush())
  }

  async #fetch(): Promise<void> {
    const { api, keys, database } = this.tools
    const { vaultKey, name } = keys
    const seen = await loadSeen(database)
    const atLeast = Math.max(seen.vaultVersion, this.#stored?.version ?? 1)
    const vault = decodeVault(await api.request('GET', '/api/vault/'))
    try {
      const opened = await openVault({ vaultKey, name, vault, atLeast })
      await noteSeen(database, { vaultVersion: opened.version })
      if (this.#stored !== null) this.#rebase(this.#stored.content, opened.content)
      this.#keep(opened)
    } catch (error) {
      if (error instanceof VaultAltered) await this.#requirePresentKeys()
      throw error
    }
  }

  /** Whether another browser replaced the vault key: the person's own identity signed that, if so. */
  async #requirePresentKeys(): Promise<void> {
    const { api, keys } = this.tools
    const { origin, name, vaultGeneration } = keys
    const stored = decodeKeys(await api.request('GET', '/api/keys/'))
    const chain = await verifyKeyChain(stored.chain, { origin, name })
    if (!equal(chain.identityPublic, keys.identityPublic)) throw new OwnKeysRefused('own_identity_changed')
    if (chain.vaultGeneration > vaultGeneration) throw new KeysRenewed()
  }

  /** Another browser may be first: then its content and this one's are merged, and a contradiction is an alarm. */
  async #write(): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      const { version, content } = this.#known()
      const written = { changes: this.#changes, positions: new Map(this.#positions) }
      try {
        this.#keep(await this.#put({ version: version + 1, content: this.#withChanges(content) }))
        this.#forget(written)
        await noteSeen(this.tools.database, { vaultVersion: version + 1 })
        await Promise.all(written.changes.map(({ onSaved }) => onSaved()))
        return
      } catch (error) {
        if (!isConflict(error) || attempt === ATTEMPTS) throw error
        await this.#fetch()
      }
    }
  }

  /**
   * Puts what waits on top of what came from elsewhere, each change by itself: `theirs` may hold some of them, written
   * by this browser before an answer was lost, and then the later ones still count.
   */
  #rebase(base: VaultContent, theirs: VaultContent): void {
    let [before, merged] = [base, theirs]
    const rebased: Change[] = []
    for (const { apply, onSaved } of this.#changes) {
      const mine = apply(before)
      const content = mergeVaults({ base: before, mine, theirs: merged })
      rebased.push({ apply: () => content, onSaved })
      ;[before, merged] = [mine, content]
    }
    mergeVaults({ base: before, mine: this.#withPositions(before), theirs: merged })
    this.#changes = rebased
  }

  #keep(stored: OpenVault): void {
    this.#stored = stored
    this.#content = null
  }

  async #put(vault: OpenVault): Promise<OpenVault> {
    const { api, random, keys } = this.tools
    const { vaultKey, name } = keys
    const sealed = await sealVault({ vaultKey, name, ...vault, random })
    await api.request('PUT', '/api/vault/', encodeVault(sealed))
    return vault
  }

  #withChanges(content: VaultContent): VaultContent {
    return this.#withPositions(this.#changes.reduce((current, { apply }) => apply(current), content))
  }

  #withPositions(content: VaultContent): VaultContent {
    return [...this.#positions.values()].reduce(forward, content)
  }

  #forget(written: {
    readonly changes: readonly Change[]
    readonly positions: ReadonlyMap<string, ReadPosition>
  }): void {
    this.#changes = this.#changes.slice(written.changes.length)
    this.#content = null
    for (const [conversation, position] of written.positions)
      if (this.#positions.get(conversation) === position) this.#positions.delete(conversation)
  }

  #known(): OpenVault {
    if (this.#stored === null) throw new Error('The vault has not been fetched yet.')
    return this.#stored
  }

  #serially(task: () => Promise<void>): Promise<void> {
    const done = this.#work.then(task)
    this.#work = done.catch(() => undefined)
    return done
  }
}

function isConflict(error: unknown): boolean {
  return error instanceof ApiRefused && error.code === 'vault_conflict'
}

/** Positions only move on: another browser may be further. */
function forward(content: VaultContent, position: ReadPosition): VaultContent {
  const stored = positionOf(content, position.conversation)
  const further = stored !== undefined && stored.checkedN > position.checkedN ? stored : position
  const readN = Math.max(position.readN, stored?.readN ?? 0)
  return withPosition(content, { ...further, readN })
}
