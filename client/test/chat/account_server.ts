/** The server's side of `/api/`, as docs/protocol.md tells it, for tests of what the browser does with its answers. */
import { type Api, ApiRefused, ApiUnreachable, type Method } from '../../src/net/api'

interface StoredAccount {
  username: string
  clientSalt: string
  authKey: string
  keys: Keys | null
  recoveryConfirmed: boolean
}

export interface Keys {
  chain: string[]
  doors: { kind: string }[]
  recovery_hash: string
  vault: { version: number; box: string }
}

/** The fields of all requests; each has those of its own. */
interface Body {
  readonly username?: string
  readonly auth_key: string
  readonly new_auth_key: string
  readonly keys: Keys
  readonly entry: string
  readonly entries: readonly string[]
  readonly door: { readonly kind: string }
  readonly doors: readonly { readonly kind: string }[]
  readonly vault: Keys['vault']
}

export class AccountServer {
  readonly requests: string[] = []
  readonly tokens: string[] = []
  readonly accounts = new Map<string, StoredAccount>()
  /** Called before each request; what it throws is what the browser sees, after `act` where it says so. */
  before: (path: string) => void = () => undefined
  after: (path: string) => void = () => undefined
  #signedIn: string | null = null

  /** As `createsuperuser` makes somebody: an account without keys. */
  create(username: string, authKey: string, clientSalt: string): void {
    const account = { username, clientSalt, authKey, keys: null, recoveryConfirmed: false }
    this.accounts.set(username.toLowerCase(), account)
  }

  api(): Api {
    return {
      useCsrfToken: (token) => {
        this.tokens.push(token)
      },
      request: (method, path, body) => {
        const plainPath = path.replace(/\?.*/, '')
        this.requests.push(`${method} ${plainPath}`)
        return Promise.resolve().then(() => {
          this.before(plainPath)
          const answer: unknown = this.#act(method, plainPath, JSON.parse(JSON.stringify(body ?? {})) as Body)
          this.after(plainPath)
          return JSON.parse(JSON.stringify(answer)) as unknown
        })
      },
    }
  }

  #act(method: Method, path: string, body: Body): unknown {
    const name = body.username?.toLowerCase() ?? ''
    switch (`${method} ${path}`) {
      case 'POST /api/log-in-parameters/':
        return { client_salt: this.accounts.get(name)?.clientSalt ?? 'A'.repeat(43), legacy_salt: null }
      case 'POST /api/sign-up/':
        if (this.accounts.has(name)) throw refusal(409, 'username_taken')
        this.create(body.username ?? '', body.auth_key, 'A'.repeat(43))
        this.#account(name).keys = body.keys
        return this.#signIn(name)
      case 'POST /api/log-in/': {
        if (this.accounts.get(name)?.authKey !== body.auth_key) throw refusal(403, 'wrong_credentials')
        return {
          ...this.#signIn(name),
          username: this.#own().username,
          keys: this.#keys(),
          next_allowed: true,
        }
      }
      case 'GET /api/keys/':
        return this.#keys()
      case 'POST /api/keys/':
        if (this.#own().keys !== null) throw refusal(409, 'keys_exist')
        this.#own().keys = body.keys
        return {}
      case 'POST /api/key-chain/':
        this.#ownKeys().chain.push(...body.entries)
        return { seq: this.#ownKeys().chain.length }
      case 'POST /api/browsers/':
        return {}
      case 'POST /api/password/':
        if (this.#own().authKey !== body.auth_key) throw refusal(403, 'wrong_credentials')
        this.#replace([body.door], body.vault)
        this.#own().authKey = body.new_auth_key
        return { csrf_token: 'next' }
      case 'POST /api/recovery-code/':
        this.#replace([body.door], body.vault)
        this.#own().recoveryConfirmed = false
        return {}
      case 'POST /api/recovery-code/confirm/':
        this.#own().recoveryConfirmed = true
        return {}
      case 'GET /api/vault/':
        return this.#ownKeys().vault
      case 'POST /api/recovery/begin/': {
        const { clientSalt, keys } = this.#account(name)
        const door = keys?.doors.find(({ kind }) => kind === 'recovery')
        return { client_salt: clientSalt, chain: keys?.chain, door, vault: keys?.vault }
      }
      case 'POST /api/recovery/finish/':
        this.#signedIn = name
        this.#replace(body.doors, body.vault)
        this.#ownKeys().chain.push(body.entry)
        this.#own().authKey = body.new_auth_key
        return { ...this.#signIn(name), username: this.#own().username }
      default:
        throw new Error(`no ${method} ${path}`)
    }
  }

  #account(name: string): StoredAccount {
    const account = this.accounts.get(name)
    if (account === undefined) throw new Error(`nobody is called ${name}`)
    return account
  }

  #own(): StoredAccount {
    return this.#account(this.#signedIn ?? '')
  }

  #ownKeys(): Keys {
    const { keys } = this.#own()
    if (keys === null) throw new Error('no keys')
    return keys
  }

  #keys(): unknown {
    const { username, keys, recoveryConfirmed } = this.#own()
    return keys === null ? null : { ...keys, username, recovery_confirmed: recoveryConfirmed }
  }

  #signIn(name: string): { csrf_token: string } {
    this.#signedIn = name
    return { csrf_token: 'next' }
  }

  #replace(doors: readonly { kind: string }[], vault: Keys['vault']): void {
    const keys = this.#ownKeys()
    if (vault.version !== keys.vault.version + 1) throw refusal(409, 'vault_conflict')
    keys.vault = vault
    keys.doors = [...keys.doors.filter(({ kind }) => !doors.some((door) => door.kind === kind)), ...doors]
  }
}

export function refusal(status: number, code: string): ApiRefused {
  return new ApiRefused(status, code, code, {}, null)
}

export function lostAnswer(): ApiUnreachable {
  return new ApiUnreachable('lost')
}

/** Throws `error` for the first request to `path` and lets the others through. */
export function once(path: string, error: Error): (asked: string) => void {
  let thrown = false
  return (asked) => {
    if (thrown || asked !== path) return
    thrown = true
    throw error
  }
}
