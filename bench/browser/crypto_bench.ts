/** Runs in a page of its own: seals 1 kB messages as the chat does, then checks and opens them as the chat does. */
import { createAccount } from '../../client/src/crypto/account'
import { openEnvelope, type SealedEnvelope, sealEnvelope } from '../../client/src/crypto/envelope'
import { createEpoch } from '../../client/src/crypto/epoch'
import { logNext, logStart } from '../../client/src/crypto/log'
import { advanceWriters, newWriter, NO_WRITERS } from '../../client/src/crypto/writer_chain'
import { type Bytes, systemRandom } from '../../client/src/wire/bytes'

const CHARACTERS = 1000

interface Figures {
  readonly messages: number
  readonly sealedPerSecond: number
  readonly openedPerSecond: number
  readonly envelopeBytes: number
  readonly shortEnvelopeBytes: number
}

function newAccount(name: string): ReturnType<typeof createAccount> {
  return createAccount({
    origin: location.origin,
    name,
    stretched: systemRandom(32),
    recoveryCode: systemRandom(20),
    now: Date.now(),
    random: systemRandom,
  })
}

async function run(messages: number): Promise<Figures> {
  const [alice, bob] = [await newAccount('alice'), await newAccount('bobby')]
  const conversation = systemRandom(16)
  const chains = [alice.chain, bob.chain] as const
  let log = await logStart(conversation)
  const { epoch } = await createEpoch({
    conversation,
    previous: null,
    chains,
    log,
    device: alice.browser.device,
    random: systemRandom,
  })
  let writer = newWriter(systemRandom)
  const seal = async (text: string, clientId: Bytes): Promise<SealedEnvelope> => {
    const content = { kind: 'text', sentAt: Date.now(), text } as const
    const device = alice.browser.device
    const sealed = await sealEnvelope({
      epoch, side: 0, chains, device, clientId, writer, log, vaultVersion: 1, content, random: systemRandom,
    })
    writer = sealed.writer
    return sealed
  }

  const envelopes: { readonly envelope: Bytes; readonly clientId: Bytes }[] = []
  let started = performance.now()
  for (let i = 0; i < messages; i++) {
    const clientId = systemRandom(16)
    envelopes.push({ envelope: (await seal('x'.repeat(CHARACTERS), clientId)).envelope, clientId })
  }
  const sealing = performance.now() - started

  const epochs = new Map([[1, epoch]])
  let writers = NO_WRITERS
  started = performance.now()
  for (const { envelope, clientId } of envelopes) {
    const opened = await openEnvelope(envelope, { conversation, side: 0, clientId, epochs, chains })
    writers = advanceWriters(writers, opened.header, opened.hash, { fromFirst: true })
    log = await logNext(log, opened.hash)
  }
  const opening = performance.now() - started

  return {
    messages,
    sealedPerSecond: Math.round((messages / sealing) * 1000),
    openedPerSecond: Math.round((messages / opening) * 1000),
    envelopeBytes: envelopes[0]?.envelope.length ?? 0,
    shortEnvelopeBytes: (await seal('See you at eight?', systemRandom(16))).envelope.length,
  }
}

Object.assign(window, { runCryptoBench: run })
