/**
 * The network of the chat tests: a server in memory that keeps the protocol's promises, and can break them on purpose.
 *
 * Only the server is made up: frames are real text, and everything sealed, signed or hashed in them is real.
 */
import { CryptoRefusal } from '../../src/crypto/errors'
import {
  extendKeyChain,
  hasActiveDevice,
  type VerifiedChain,
  verifyKeyChain,
} from '../../src/crypto/key_chain'
import { hash } from '../../src/crypto/labels'
import { envelopeHash, type LogPosition, logNext, logStart } from '../../src/crypto/log'
import { type Api, ApiRefused, ApiUnreachable, type Method } from '../../src/net/api'
import type { SocketLike } from '../../src/net/socket'
import { decodeVault, type Door, encodeDoor, encodeVault, type SealedVault } from '../../src/wire/api'
import { type Bytes, equal, fromBase64url, toHex, uuidToBytes } from '../../src/wire/bytes'
import type { Row, ServerFrame, Summary } from '../../src/wire/frames'
import { toWire } from '../../src/wire/json'
import {
  type ChainPayload,
  decodeChainEntry,
  decodeEnvelope,
  decodeEpochRecord,
  decodeHead,
  type Side,
} from '../../src/wire/objects'

export interface StoredConversation {
  readonly id: string
  readonly members: readonly [string, string]
  open: boolean
  rows: Row[]
  log: LogPosition[]
  epochs: Bytes[]
  heads: [Bytes | null, Bytes | null]
  writers: Map<string, { seq: number; hash: Bytes }>
}

/** What the server keeps of somebody. */
export interface Person {
  chain: Bytes[]
  doors: readonly Door[]
  vault: SealedVault
}

/** Who asks, and with which log-in: that of the browser with this device, or null of one that has none yet. */
export interface Login {
  readonly name: string
  readonly device: Bytes | null
}

type Json = Record<string, unknown>
type ChainKind = ChainPayload['kind']

const NO_HASH = new Uint8Array(32)
/** So long a frame that was given up may still be on its way. */
const LATE_MS = 25

class Socket implements SocketLike {
  onopen: (() => void) | null = null
  onmessage: ((event: { readonly data: unknown }) => void) | null = null
  onclose: ((event: { readonly code: number }) => void) | null = null
  alive = true

  constructor(
    readonly login: Login,
    private readonly server: FakeServer,
  ) {}

  get name(): string {
    return this.login.name
  }

  send(text: string): void {
    if (this.alive) this.server.receive(this, text)
  }

  close(): void {
    this.alive = false
  }

  deliver(frame: ServerFrame): void {
    const text = JSON.stringify(toWire(frame))
    setImmediate(() => {
      if (this.alive) this.onmessage?.({ data: text })
    })
  }

  break(code: number): void {
    if (!this.alive) return
    this.alive = false
    setImmediate(() => this.onclose?.({ code }))
  }
}

export class FakeServer {
  readonly people = new Map<string, Person>()
  /** Names whose account was deleted; their keys are left. */
  readonly deleted = new Set<string>()
  readonly conversations = new Map<string, StoredConversation>()
  readonly sockets = new Set<Socket>()
  /**
   * Called for each frame before it is carried out, and again after; `break` cuts the connection there, `late` as well,
   * but the frame has got through and is carried out some time after.
   */
  fault: (when: 'before' | 'after', type: string) => 'pass' | 'break' | 'late' = () => 'pass'
  /** What the server makes of what it sends; for a server that lies. */
  tamper: (frame: ServerFrame, to: string) => ServerFrame = (frame) => frame
  /** A frame of this person is carried out only after that. */
  hold: (name: string, type: string) => Promise<void> | null = () => null
  refuse: (type: string) => { code: string; retryAfter: number | null } | null = () => null
  /** The same for requests of `/api/`; a lost answer is none. */
  apiFault: (when: 'before' | 'after', method: Method, path: string) => 'pass' | 'break' = () => 'pass'
  /** For a server that lies: this device never ends for it, and hears of nothing by itself. */
  accomplice: Bytes | null = null
  now = 1_700_000_000_000
  readonly #chains = new Map<string, VerifiedChain>()
  #work: Promise<unknown> = Promise.resolve()

  async befriend(id: string, first: string, second: string): Promise<StoredConversation> {
    const conversation: StoredConversation = {
      id,
      members: [first, second],
      open: true,
      rows: [],
      log: [await logStart(uuidToBytes(id))],
      epochs: [],
      heads: [null, null],
      writers: new Map(),
    }
    this.conversations.set(id, conversation)
    return conversation
  }

  connect(login: Login): SocketLike {
    const socket = new Socket(login, this)
    this.sockets.add(socket)
    if (this.#isEnded(login)) socket.break(4401)
    else
      this.#send(socket, {
        type: 'welcome',
        name: login.name,
        serverTime: this.now,
        requests: 0,
        presence: [],
      })
    return socket
  }

  cut(name: string, code = 1006): void {
    for (const socket of this.sockets) if (socket.name === name) socket.break(code)
  }

  api(login: Login): Api {
    return {
      useCsrfToken: () => undefined,
      request: (method, path, body) =>
        new Promise((resolve, reject) => {
          setImmediate(() => {
            this.#inTurn(() => this.#request(login, method, path, body)).then(resolve, reject)
          })
        }),
    }
  }

  async #request(login: Login, method: Method, path: string, body: unknown): Promise<unknown> {
    const lost = new ApiUnreachable('The server did not answer.')
    if (this.apiFault('before', method, path) === 'break') throw lost
    if (this.#isEnded(login)) throw refusal(401, 'signed_out')
    const answer = await this.#carryOut(login, method, path, (body ?? {}) as Json)
    if (this.apiFault('after', method, path) === 'break') throw lost
    return answer
  }

  async #carryOut(login: Login, method: Method, path: string, body: Json): Promise<unknown> {
    const person = this.#person(login.name)
    switch (`${method} ${path}`) {
      case 'GET /api/vault/':
        return encodeVault(person.vault)
      case 'PUT /api/vault/':
        person.vault = nextVault(person, body)
        return encodeVault(person.vault)
      case 'GET /api/keys/':
        return {
          username: login.name,
          chain: toWire(person.chain),
          doors: person.doors.map(encodeDoor),
          vault: encodeVault(person.vault),
          recovery_confirmed: true,
        }
      case 'POST /api/key-chain/':
        await this.#grow(login.name, body, ['device_add', 'device_retire', 'ak_rotate'])
        return { seq: person.chain.length }
      case 'POST /api/keys/renew/':
        await this.#grow(login.name, body, ['device_revoke', 'ak_rotate'])
        person.doors = (body['doors'] as Json[]).map(doorOf)
        return { csrf_token: 'next' }
      case 'POST /api/keys/reset/':
        await this.#grow(login.name, body, ['reset', 'device_add'])
        person.doors = (body['doors'] as Json[]).map(doorOf)
        return { csrf_token: 'next' }
      default:
        throw new Error(`There is no ${method} ${path}.`)
    }
  }

  /** All or nothing: the entries, and the vault that comes with them. Whose browser ended is signed out. */
  async #grow(name: string, body: Json, allowed: readonly ChainKind[]): Promise<void> {
    const person = this.#person(name)
    const entries = (body['entries'] as string[]).map(fromBase64url)
    const decoded = entries.map(decodeChainEntry)
    if (!decoded.every(({ payload }) => allowed.includes(payload.kind))) throw refusal(400, 'chain_refused')
    const before = await this.#chainOf(name)
    const [first] = decoded
    if (first?.seq !== before.seq + 1 || !equal(first.prev, before.head)) throw refusal(409, 'chain_conflict')
    const after = await extendKeyChain(before, entries).catch((error: unknown) => {
      throw error instanceof CryptoRefusal ? refusal(400, 'chain_refused') : error
    })
    const renews = decoded.some(({ payload }) => payload.kind === 'ak_rotate' || payload.kind === 'reset')
    if (renews !== (body['vault'] !== null)) throw refusal(400, 'malformed_request')
    if (renews) person.vault = nextVault(person, body['vault'])
    person.chain = [...person.chain, ...entries]
    this.#chains.set(name, after)
    for (const socket of this.sockets) if (this.#isEnded(socket.login)) socket.break(4401)
    this.#keysChanged(name)
  }

  /** As checked entry by entry, again where a test put another chain in its place. */
  async #chainOf(name: string): Promise<VerifiedChain> {
    const { chain } = this.#person(name)
    const known = this.#chains.get(name)
    const head = chain.at(-1)
    if (
      known?.seq === chain.length &&
      head !== undefined &&
      equal(known.head, await hash('chain/entry', head))
    )
      return known
    const [genesis] = chain
    if (genesis === undefined) throw new Error('A chain has a first entry.')
    const { payload } = decodeChainEntry(genesis)
    if (payload.kind !== 'genesis') throw new Error('A chain begins with genesis.')
    const verified = await verifyKeyChain(chain, { origin: payload.origin, name: payload.name })
    this.#chains.set(name, verified)
    return verified
  }

  #isAccomplice({ device }: Login): boolean {
    return device !== null && this.accomplice !== null && equal(device, this.accomplice)
  }

  #isEnded(login: Login): boolean {
    const { name, device } = login
    if (device === null || this.#isAccomplice(login)) return false
    const ended = this.#chains.get(name)?.devices.get(toHex(device))?.ended
    return ended !== null && ended !== undefined
  }

  #keysChanged(name: string): void {
    for (const socket of this.sockets)
      if (socket.name === name && socket.alive)
        this.#send(socket, { type: 'keys.changed', conversation: null })
    for (const conversation of this.conversations.values())
      for (const socket of this.sockets)
        if (socket.name !== name && this.#isBetween(conversation, name, socket.name) && socket.alive)
          this.#send(socket, { type: 'keys.changed', conversation: conversation.id })
  }

  #isBetween({ members }: StoredConversation, one: string, other: string): boolean {
    return members.includes(one) && members.includes(other)
  }

  /** Tells the friends of whoever came or went. */
  presence(name: string, online: boolean): void {
    for (const conversation of this.conversations.values())
      for (const socket of this.sockets)
        if (socket.name !== name && this.#isBetween(conversation, name, socket.name) && socket.alive)
          this.#send(socket, { type: 'presence', conversation: conversation.id, online })
  }

  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#work.then(task)
    this.#work = done.catch(() => undefined)
    return done
  }

  receive(socket: Socket, text: string): void {
    const frame = JSON.parse(text) as Json
    const held = this.hold(socket.name, frame['type'] as string)
    if (held === null) this.#take(socket, frame)
    else
      void held.then(() => {
        this.#take(socket, frame)
      })
  }

  #take(socket: Socket, frame: Json): void {
    void this.#inTurn(async () => {
      const type = frame['type'] as string
      if (!socket.alive) return
      const before = this.fault('before', type)
      if (before !== 'pass') socket.break(1006)
      if (before === 'late')
        setTimeout(
          () => void this.#inTurn(() => this.#answer(socket, frame, frame['ref'] as number)),
          LATE_MS,
        )
      if (before !== 'pass') return
      const refusal = this.refuse(type)
      const ref = frame['ref'] as number
      const answer: ServerFrame =
        refusal === null
          ? await this.#answer(socket, frame, ref)
          : {
              type: 'refused',
              ref,
              code: refusal.code,
              message: refusal.code,
              retryAfter: refusal.retryAfter,
            }
      if (this.fault('after', type) === 'pass') this.#send(socket, answer)
      else socket.break(1006)
    })
  }

  summary(conversation: StoredConversation, name: string): Summary {
    const side = sideOf(conversation, name)
    const peer = conversation.members[side === 0 ? 1 : 0]
    return {
      conversation: conversation.id,
      peer,
      side,
      open: conversation.open,
      online: null,
      lastN: conversation.rows.length,
      epoch: conversation.epochs.length,
      peerHasKeys: this.people.has(peer),
      peerDeleted: this.deleted.has(peer),
      last: conversation.rows.at(-1) ?? null,
      heads: [...conversation.heads],
      activeAt: conversation.rows.at(-1)?.storedAt ?? 0,
    }
  }

  /** To every socket of both people but `except`. */
  tell(conversation: StoredConversation, except: Socket | null, frame: ServerFrame): void {
    for (const socket of this.sockets)
      if (socket !== except && socket.alive && conversation.members.includes(socket.name))
        this.#send(socket, frame)
  }

  changed(conversation: StoredConversation): void {
    for (const socket of this.sockets)
      if (conversation.members.includes(socket.name))
        this.#send(socket, { type: 'conversation.changed', summary: this.summary(conversation, socket.name) })
  }

  #send(socket: Socket, frame: ServerFrame): void {
    if (this.#isAccomplice(socket.login) && !('ref' in frame) && frame.type !== 'welcome') return
    socket.deliver(this.tamper(frame, socket.name))
  }

  #person(name: string): Person {
    const person = this.people.get(name)
    if (person === undefined) throw new Error(`Nobody is called ${name}.`)
    return person
  }

  async #answer(socket: Socket, frame: Json, ref: number): Promise<ServerFrame> {
    const refused = (code: string): ServerFrame => ({
      type: 'refused',
      ref,
      code,
      message: code,
      retryAfter: null,
    })
    if (frame['type'] === 'ping') return { type: 'pong', ref }
    if (frame['type'] === 'conversations.list') {
      const mine = [...this.conversations.values()].filter(({ members }) => members.includes(socket.name))
      const items = mine.map((conversation) => this.summary(conversation, socket.name))
      return { type: 'conversations', ref, items, more: false }
    }
    const id = frame['conversation'] as string
    const conversation = this.conversations.get(id)
    if (conversation?.members.includes(socket.name) !== true) return refused('conversation_not_found')
    const side = sideOf(conversation, socket.name)
    switch (frame['type']) {
      case 'epochs.get':
        return {
          type: 'epochs',
          ref,
          conversation: id,
          records: conversation.epochs.slice(frame['after'] as number),
          more: false,
        }
      case 'epoch.append': {
        const record = fromBase64url(frame['record'] as string)
        const body = decodeEpochRecord(record)
        if (!(await this.#stands(socket, body.device))) return refused('unknown_device')
        if (!conversation.open) return refused('conversation_closed')
        const last = conversation.epochs.at(-1)
        const prev = last === undefined ? NO_HASH : await hash('epoch/record', last)
        if (frame['epoch'] !== conversation.epochs.length + 1 || !equal(body.prev, prev))
          return refused('epoch_conflict')
        conversation.epochs.push(record)
        const epoch = conversation.epochs.length
        this.tell(conversation, socket, { type: 'epoch.new', conversation: id, epoch, record })
        return { type: 'epoch.appended', ref, conversation: id, epoch }
      }
      case 'chain.get': {
        const name = conversation.members[frame['whose'] === 'own' ? side : side === 0 ? 1 : 0]
        if (!this.people.has(name)) return refused('peer_has_no_keys')
        const chain = this.#person(name).chain.slice(frame['after'] as number)
        // Two at a time, so that `more` is followed.
        const entries = chain.slice(0, 2)
        const whose = frame['whose'] as 'own' | 'peer'
        return { type: 'chain', ref, conversation: id, whose, entries, more: chain.length > 2 }
      }
      case 'envelope.send':
        return this.#store(socket, conversation, side, frame, ref, refused)
      case 'envelopes.lookup': {
        const clientIds = frame['client_ids'] as string[]
        const items = conversation.rows
          .filter((row) => clientIds.includes(row.clientId) && row.side === side)
          .map(({ clientId, n, storedAt }) => ({ clientId, n, storedAt }))
        return { type: 'envelopes.found', ref, conversation: id, items }
      }
      case 'history.get':
        return history(conversation, frame, ref)
      case 'head.set': {
        const head = fromBase64url(frame['head'] as string)
        const { n, epoch, device } = decodeHead(head)
        if (!(await this.#stands(socket, device))) return refused('unknown_device')
        if (n > conversation.rows.length || epoch > conversation.epochs.length)
          return refused('malformed_frame')
        const before = conversation.heads[side]
        if (before === null || (n >= decodeHead(before).n && !equal(head, before))) {
          conversation.heads[side] = head
          this.tell(conversation, socket, { type: 'head.new', conversation: id, side, head })
        }
        return { type: 'head.stored', ref, conversation: id }
      }
      default:
        return refused('malformed_frame')
    }
  }

  async #stands(socket: Socket, device: Bytes): Promise<boolean> {
    if (this.#isAccomplice({ name: socket.name, device })) return true
    return hasActiveDevice(await this.#chainOf(socket.name), device)
  }

  async #store(
    socket: Socket,
    conversation: StoredConversation,
    side: Side,
    frame: Json,
    ref: number,
    refused: (code: string) => ServerFrame,
  ): Promise<ServerFrame> {
    const envelope = fromBase64url(frame['envelope'] as string)
    const clientId = frame['client_id'] as string
    const stored = (row: Row): ServerFrame => ({
      type: 'envelope.stored',
      ref,
      conversation: conversation.id,
      clientId,
      n: row.n,
      storedAt: row.storedAt,
    })
    const known = conversation.rows.find((row) => row.clientId === clientId)
    if (known !== undefined)
      return equal(known.envelope, envelope) ? stored(known) : refused('client_id_reused')
    if (!conversation.open) return refused('conversation_closed')
    if (frame['epoch'] !== conversation.epochs.length && !this.#isAccomplice(socket.login))
      return refused('stale_epoch')
    const { header } = decodeEnvelope(envelope)
    if (!(await this.#stands(socket, header.device))) return refused('unknown_device')
    const writer = toHex(header.writer)
    const before = conversation.writers.get(writer) ?? { seq: 0, hash: new Uint8Array(32) }
    if (header.seq !== before.seq + 1 || !equal(header.prev, before.hash)) return refused('writer_gap')
    const hash = await envelopeHash(envelope)
    conversation.writers.set(writer, { seq: header.seq, hash })
    const row: Row = {
      n: conversation.rows.length + 1,
      side,
      clientId,
      envelope,
      storedAt: (this.now += 1000),
    }
    conversation.rows.push(row)
    const last = conversation.log.at(-1)
    if (last !== undefined) conversation.log.push(await logNext(last, hash))
    this.tell(conversation, socket, { type: 'envelope.new', conversation: conversation.id, row })
    return stored(row)
  }
}

function nextVault(person: Person, body: unknown): SealedVault {
  const vault = decodeVault(body)
  if (vault.version !== person.vault.version + 1) throw refusal(409, 'vault_conflict')
  return vault
}

function doorOf(body: Json): Door {
  return {
    kind: body['kind'] as Door['kind'],
    publicKey: fromBase64url(body['public'] as string),
    sealedVaultKey: fromBase64url(body['sealed_vault_key'] as string),
    sealedIdentity: fromBase64url(body['sealed_identity'] as string),
  }
}

function refusal(status: number, code: string): ApiRefused {
  return new ApiRefused(status, code, code, {}, null)
}

function sideOf(conversation: StoredConversation, name: string): Side {
  return conversation.members[0] === name ? 0 : 1
}

function history(conversation: StoredConversation, frame: Json, ref: number): ServerFrame {
  const n = frame['n'] as number
  const limit = frame['limit'] as number
  const after = frame['direction'] === 'after'
  const matching = conversation.rows.filter((row) => (after ? row.n > n : n === 0 || row.n < n))
  const rows = after ? matching.slice(0, limit) : matching.slice(-limit)
  const before = conversation.log[(rows[0]?.n ?? (after ? conversation.rows.length + 1 : 1)) - 1]
  if (before === undefined) throw new Error('The log has no such place.')
  return {
    type: 'history',
    ref,
    conversation: conversation.id,
    rows,
    beforeHash: before.hash,
    lastN: conversation.rows.length,
    more: rows.length < matching.length,
  }
}
