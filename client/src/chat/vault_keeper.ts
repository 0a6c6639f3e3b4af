/**
 * The person's vault while a page is open: pins and positions go in, and come back merged with what other browsers put there.
 *
 * A changed pin is written at once; positions are written at most every five minutes and when the page is left,
 * because each write is a new version that every other browser has to fetch.
 */
import { mergeVaults, openVault, type OpenVault, positionOf, sealVault, withPosition } from '../crypto/vault'
import { type Api, ApiRefused, ApiUnreachable } from '../net/api'
import type { Clock } from '../net/clock'
import { decodeVault, encodeVault } from '../wire/api'
import { type Random, uuidFromBytes } from '../wire/bytes'
import type { ReadPosition, VaultContent } from '../wire/objects'

const POSITIONS_EVERY_MS = 5 * 60_000
const RETRY_MS = 30_000
const ATTEMPTS = 5

export interface VaultTools {
  readonly api: Api
  readonly clock: Clock
  readonly random: Random
  readonly vaultKey: CryptoKey
  /** Folded. */
  readonly name: string
  /** A check of the vault failed, or the server no longer knows the session. */
  readonly onProblem: (error: unknown) => void
}

export class VaultKeeper {
  #stored: OpenVault | null = null
  #changes: ((content: VaultContent) => VaultContent)[] = []
  readonly #positions = new Map<string, ReadPosition>()
  #cancel: () => void = () => undefined
  #dueAt = Infinity
  #work: Promise<void> = Promise.resolve()

  constructor(private readonly tools: VaultTools) {}

  /** What is stored, with what is not written yet. Throws until `load` has succeeded. */
  get content(): VaultContent {
    return this.#withChanges(this.#known().content)
  }

  /** The newest version that this browser has seen. */
  get version(): number {
    return this.#known().version
  }

  get isLoaded(): boolean {
    return this.#stored !== null
  }

  /** Fetches what is stored now. Throws `VaultAltered`, `VaultRolledBack`, and what the API throws. */
  load(): Promise<void> {
    return this.#serially(() => this.#fetch())
  }

  /** For pins and the chain position: written at once. */
  change(change: (content: VaultContent) => VaultContent): void {
    this.#changes.push(change)
    this.#schedule(0)
  }

  /** For positions in logs: written now and then. */
  notePosition(position: ReadPosition): void {
    this.#positions.set(uuidFromBytes(position.conversation), position)
    this.#schedule(POSITIONS_EVERY_MS)
  }

  /** Writes now what waits, for a page that is being left. */
  flush(): Promise<void> {
    this.#cancel()
    this.#dueAt = Infinity
    return this.#serially(async () => {
      if (this.#stored !== null && (this.#changes.length > 0 || this.#positions.size > 0)) await this.#write()
    }).catch((error: unknown) => {
      if (error instanceof ApiUnreachable) this.#schedule(RETRY_MS)
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
    const { api, vaultKey, name } = this.tools
    const vault = decodeVault(await api.request('GET', '/api/vault/'))
    this.#stored = await openVault({ vaultKey, name, vault, atLeast: this.#stored?.version ?? 1 })
  }

  /** Another browser may be first: then its content and this one's are merged, and a contradiction is an alarm. */
  async #write(): Promise<void> {
    const written = { changes: [...this.#changes], positions: new Map(this.#positions) }
    let base = this.#known()
    let mine = this.#withChanges(base.content)
    for (let attempt = 1; ; attempt += 1) {
      try {
        this.#stored = await this.#put({ version: base.version + 1, content: mine })
        this.#forget(written)
        return
      } catch (error) {
        if (!isConflict(error) || attempt === ATTEMPTS) throw error
        await this.#fetch()
        const theirs = this.#known()
        mine = mergeVaults({ base: base.content, mine, theirs: theirs.content })
        base = theirs
      }
    }
  }

  async #put(vault: OpenVault): Promise<OpenVault> {
    const { api, random, vaultKey, name } = this.tools
    const sealed = await sealVault({ vaultKey, name, ...vault, random })
    await api.request('PUT', '/api/vault/', encodeVault(sealed))
    return vault
  }

  #withChanges(content: VaultContent): VaultContent {
    const changed = this.#changes.reduce((current, change) => change(current), content)
    return [...this.#positions.values()].reduce(forward, changed)
  }

  #forget(written: {
    readonly changes: readonly unknown[]
    readonly positions: ReadonlyMap<string, ReadPosition>
  }): void {
    this.#changes = this.#changes.slice(written.changes.length)
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
