/**
 * What a failed check says to the person: a title, a sentence, and the one thing to do.
 *
 * Every check that can fail has a line here, so nothing fails in silence.
 */
import { CryptoRefusal, type CryptoRefusalCode } from '../crypto/errors'
import { MalformedData } from '../wire/bytes'

export type AlarmCode =
  | Exclude<
      CryptoRefusalCode,
      | 'door_closed'
      | 'recovery_code_malformed'
      | 'stretch_failed'
      | 'local_box_broken'
      | 'unknown_epoch'
      | 'history_lost'
      | 'keys_renewed'
    >
  | 'epoch_missing'
  | 'link_mismatch'
  | 'renamed'
  | 'own_identity_changed'
  | 'own_chain_invalid'
  | 'history_shortened'
  | 'history_gap'
  | 'head_ahead'

/** A check of this folder failed; those of `crypto/` throw a `CryptoRefusal`. */
export class CheckFailed extends Error {
  override readonly name = 'CheckFailed'

  constructor(readonly code: AlarmCode) {
    super(`A check failed: ${code}`)
  }
}

/** A check of one's own key chain failed: it concerns the whole account, whichever conversation asked. */
export class OwnKeysRefused extends Error {
  override readonly name = 'OwnKeysRefused'

  constructor(readonly code: 'own_identity_changed' | 'own_chain_invalid') {
    super(`The own key chain was refused: ${code}`)
  }
}

/** The alarm that an error means, or null when it is not a failed check. */
export function alarmCodeOf(error: unknown): AlarmCode | null {
  if (error instanceof CheckFailed) return error.code
  if (error instanceof MalformedData) return 'altered_message'
  if (!(error instanceof CryptoRefusal)) return null
  switch (error.code) {
    case 'unknown_epoch':
      return 'epoch_missing'
    case 'door_closed':
    case 'recovery_code_malformed':
    case 'stretch_failed':
    case 'local_box_broken':
    case 'history_lost':
    case 'keys_renewed':
      return null
    default:
      return error.code
  }
}

export type AlarmAction = 'ask_again' | 'reload' | 'sign_in'

export interface AlarmText {
  readonly title: string
  readonly sentence: string
  readonly action: { readonly kind: AlarmAction; readonly label: string }
  /** Whether nothing more is sent in the conversation: the two people may not see the same. */
  readonly stopsSending: boolean
}

const ASK_AGAIN = { kind: 'ask_again', label: 'Ask again' } as const
const SIGN_IN = { kind: 'sign_in', label: 'Sign in again' } as const
const RELOAD = { kind: 'reload', label: 'Reload' } as const

/** `name` is the friend's. */
export function alarmText(code: AlarmCode, name: string): AlarmText {
  switch (code) {
    case 'altered_message':
      return message(
        'Altered message',
        `This message was altered or does not match ${name}'s key. It is not shown.`,
      )
    case 'commitment_mismatch':
      return message('Altered message', 'This message could not be proved in a report. It is not shown.')
    case 'padding_invalid':
      return message('Altered message', 'This message is not formed as it must be. It is not shown.')
    case 'wrong_conversation':
      return message('Misplaced message', 'This message was made for another conversation. It is not shown.')
    case 'wrong_client_id':
      return message(
        'Relabelled message',
        'The server gave this message another name than it was signed with. It is not shown.',
      )
    case 'wrong_epoch':
      return message(
        'Wrong keys',
        'This message was sealed with keys that this conversation never had. It is not shown.',
      )
    case 'epoch_missing':
      return message(
        'Missing keys',
        'The server did not deliver the keys that this message was sealed with. It is not shown.',
      )
    case 'unknown_device':
      return message(
        'Unknown browser',
        `This does not come from a browser that ${name} has signed in with. It is not shown.`,
      )
    case 'device_ended':
      return message(
        'Signed-out browser',
        `This comes from a browser that ${name} had signed out before. It is not shown.`,
      )
    case 'unknown_content':
      return {
        title: 'Newer message',
        sentence: 'This message needs a newer version of this page.',
        action: RELOAD,
        stopsSending: false,
      }
    case 'writer_broken':
      return conversation(
        'Messages are missing',
        'Messages are missing, repeated or out of order. The server did not deliver them as they were sent.',
      )
    case 'log_mismatch':
      return conversation(
        'Two different conversations',
        `The server shows you and ${name} different messages. Nothing is sent until this is settled.`,
      )
    case 'history_shortened':
      return conversation(
        'Messages disappeared',
        'Messages that this account had already checked are gone from the server.',
      )
    case 'history_gap':
      return conversation(
        'Messages are missing',
        'The server did not deliver earlier messages of this conversation.',
      )
    case 'head_ahead':
      return conversation(
        'Messages are held back',
        'A browser confirmed messages that the server does not show here.',
      )
    case 'head_invalid':
      return conversation('Forged receipt', 'A confirmation of delivery is not genuine.')
    case 'identity_changed':
      return conversation(
        'Different identity',
        `The server shows another identity for ${name} than before. It may not be ${name}.`,
      )
    case 'link_mismatch':
      return conversation(
        'Not who the link named',
        `The link you used to add ${name} named another identity than the server shows. Ask ${name} for the link again.`,
      )
    case 'renamed':
      return {
        ...conversation(
          'Another name',
          `The server now gives this conversation to somebody else than ${name}. Nothing is sent.`,
        ),
        action: RELOAD,
      }
    case 'own_identity_changed':
      return {
        ...conversation(
          'Another identity for you',
          'The server shows another identity for your account than this browser has kept. Unless you started over yourself, somebody else did.',
        ),
        action: SIGN_IN,
      }
    case 'own_chain_invalid':
      return {
        ...conversation(
          'Your keys are not genuine',
          'The server shows a list of your browsers that is not genuine, or older than before.',
        ),
        action: RELOAD,
      }
    case 'chain_invalid':
    case 'chain_foreign':
      return conversation('Keys are not genuine', 'The server shows a list of keys that is not genuine.')
    case 'chain_rolled_back':
    case 'chain_behind':
      return conversation('Older keys', 'The server shows an older list of keys than before.')
    case 'chain_forked':
      return conversation('Two lists of keys', `The server shows you and ${name} different lists of keys.`)
    case 'epoch_invalid':
      return conversation('Keys are not genuine', 'The server shows conversation keys that are not genuine.')
    case 'no_account_key':
      return {
        ...conversation('Missing keys', 'This browser lacks a key for this conversation.'),
        action: SIGN_IN,
      }
    case 'vault_altered':
      return {
        ...conversation('Altered vault', 'The vault with your keys was altered on the server.'),
        action: RELOAD,
      }
    case 'vault_rolled_back':
      return {
        ...conversation('Older vault', 'The server shows an older vault than one of your browsers has seen.'),
        action: RELOAD,
      }
  }
}

function message(title: string, sentence: string): AlarmText {
  return { title, sentence, action: ASK_AGAIN, stopsSending: false }
}

function conversation(title: string, sentence: string): AlarmText {
  return { title, sentence, action: ASK_AGAIN, stopsSending: true }
}
