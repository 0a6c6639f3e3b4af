/** What the checks of this folder refuse. Each class is one thing that happened; `code` is stable and for programs. */

export type CryptoRefusalCode =
  | 'altered_message'
  | 'unknown_content'
  | 'unknown_device'
  | 'device_ended'
  | 'history_lost'
  | 'unknown_epoch'
  | 'commitment_mismatch'
  | 'wrong_conversation'
  | 'wrong_client_id'
  | 'wrong_epoch'
  | 'padding_invalid'
  | 'writer_broken'
  | 'log_mismatch'
  | 'head_invalid'
  | 'chain_invalid'
  | 'chain_foreign'
  | 'chain_rolled_back'
  | 'chain_behind'
  | 'chain_forked'
  | 'identity_changed'
  | 'epoch_invalid'
  | 'no_account_key'
  | 'door_closed'
  | 'vault_altered'
  | 'vault_rolled_back'
  | 'keys_renewed'
  | 'recovery_code_malformed'
  | 'stretch_failed'
  | 'local_box_broken'

export abstract class CryptoRefusal extends Error {
  abstract readonly code: CryptoRefusalCode
}

/** The bytes are not what a device of that person signed. */
export class AlteredMessage extends CryptoRefusal {
  readonly code = 'altered_message'
}

/** Genuine, but of a kind this version cannot show. */
export class UnknownContent extends CryptoRefusal {
  readonly code = 'unknown_content'
}

/** Signed by a device that is not on the key chain as known here. Fetch the chain again before believing it. */
export class UnknownDevice extends CryptoRefusal {
  readonly code = 'unknown_device'
}

/** Signed by a device that was signed out before (docs/protocol.md, section 6). */
export class DeviceEnded extends CryptoRefusal {
  readonly code = 'device_ended'
}

/** Genuine, and sealed to an account key that was lost when its person started fresh. */
export class HistoryLost extends CryptoRefusal {
  readonly code = 'history_lost'
}

/** An epoch that is not known here yet. Fetch the epochs. */
export class UnknownEpoch extends CryptoRefusal {
  readonly code = 'unknown_epoch'
}

/** The commitment is to something else than the content, so that the message could not be reported. */
export class CommitmentMismatch extends CryptoRefusal {
  readonly code = 'commitment_mismatch'
}

/** Made for another conversation. */
export class WrongConversation extends CryptoRefusal {
  readonly code = 'wrong_conversation'
}

/** The server lists it under another client id than the one that was signed. */
export class WrongClientId extends CryptoRefusal {
  readonly code = 'wrong_client_id'
}

/** Sealed under another record of that epoch than the one known here. */
export class WrongEpoch extends CryptoRefusal {
  readonly code = 'wrong_epoch'
}

export class PaddingInvalid extends CryptoRefusal {
  readonly code = 'padding_invalid'
}

/** Messages of one writer are missing, repeated or out of order. */
export class WriterBroken extends CryptoRefusal {
  readonly code = 'writer_broken'
}

/** Two views of the same conversation differ. */
export class LogMismatch extends CryptoRefusal {
  readonly code = 'log_mismatch'
}

export class HeadInvalid extends CryptoRefusal {
  readonly code = 'head_invalid'
}

export class ChainInvalid extends CryptoRefusal {
  readonly code = 'chain_invalid'
}

/** A key chain made for another name or another server. */
export class ChainForeign extends CryptoRefusal {
  readonly code = 'chain_foreign'
}

/** A key chain that is shorter than it was, or has another entry where one was pinned. */
export class ChainRolledBack extends CryptoRefusal {
  readonly code = 'chain_rolled_back'
}

/** The chain known here ends before the position asked for. Fetch it again, then try once more. */
export class ChainBehind extends CryptoRefusal {
  readonly code = 'chain_behind'
}

/** The other side was shown another key chain. */
export class ChainForked extends CryptoRefusal {
  readonly code = 'chain_forked'
}

/** Another identity than the pinned one. */
export class IdentityChanged extends CryptoRefusal {
  readonly code = 'identity_changed'
}

export class EpochInvalid extends CryptoRefusal {
  readonly code = 'epoch_invalid'
}

/** Sealed to a generation of the account key that the vault does not hold. */
export class NoAccountKey extends CryptoRefusal {
  readonly code = 'no_account_key'
}

/** The password or the code is not the one this door was made for. */
export class DoorClosed extends CryptoRefusal {
  readonly code = 'door_closed'
}

export class VaultAltered extends CryptoRefusal {
  readonly code = 'vault_altered'
}

/** An older vault than one that was seen. */
export class VaultRolledBack extends CryptoRefusal {
  readonly code = 'vault_rolled_back'
}

/** Another browser of this person replaced the vault key: the password opens the door to the new one. */
export class KeysRenewed extends CryptoRefusal {
  readonly code = 'keys_renewed'
}

export class RecoveryCodeMalformed extends CryptoRefusal {
  readonly code = 'recovery_code_malformed'
}

/** Argon2 could not run: no memory for it, or no WebAssembly. */
export class StretchFailed extends CryptoRefusal {
  readonly code = 'stretch_failed'
}

/** What this browser keeps for itself was made by another key, or changed. */
export class LocalBoxBroken extends CryptoRefusal {
  readonly code = 'local_box_broken'
}

/** Runs a check whose own failure, whatever it is, means `refusal`. */
export async function refusing<T>(refusal: () => CryptoRefusal, check: () => T | Promise<T>): Promise<T> {
  try {
    return await check()
  } catch {
    throw refusal()
  }
}
