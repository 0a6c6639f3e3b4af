"""Why a frame is refused; docs/protocol.md lists what the browser does about each."""

from __future__ import annotations

from accounts.errors import UnknownDevice
from securechat.errors import DomainError

__all__ = [
    "ClientIdReused",
    "ConversationClosed",
    "ConversationNotFound",
    "EpochConflict",
    "MalformedFrame",
    "Muted",
    "PeerHasNoKeys",
    "ReportTooLarge",
    "ReportedPersonGone",
    "StaleEpoch",
    "UnknownDevice",
    "WriterGap",
]


class MalformedFrame(DomainError):
    """Not one of the frames of the protocol, or an object in it that does not decode."""

    code = "malformed_frame"
    message = "This page and the server do not understand each other. Please reload the page."


class ConversationNotFound(DomainError):
    """No such conversation, or not one of this person's: the two look the same."""

    code = "conversation_not_found"
    message = "There is no such conversation."
    status = 404


class ConversationClosed(DomainError):
    code = "conversation_closed"
    message = "You can no longer send messages in this conversation."


class Muted(DomainError):
    """The message has the reason, the end and how to appeal. Everything but sending goes on."""

    code = "muted"
    message = "You cannot send messages for now."
    status = 403


class StaleEpoch(DomainError):
    code = "stale_epoch"
    message = "The keys of this conversation have changed."


class EpochConflict(DomainError):
    """Somebody else appended that epoch, or it does not follow the last one."""

    code = "epoch_conflict"
    message = "The keys of this conversation have changed."
    status = 409


class WriterGap(DomainError):
    """The envelope does not continue what is stored of its writer."""

    code = "writer_gap"
    message = "A message before this one is missing."


class ClientIdReused(DomainError):
    """Stored before under this ``client_id``, with other bytes."""

    code = "client_id_reused"
    message = "This message was stored before."
    status = 409


class PeerHasNoKeys(DomainError):
    code = "peer_has_no_keys"
    message = "Your friend has not set up encryption yet."


class ReportedPersonGone(DomainError):
    """The account was deleted: there is nobody to act upon, and no keys to prove anything with."""

    code = "reported_person_gone"
    message = "This account no longer exists, so there is nobody to report."
    status = 409


class ReportTooLarge(DomainError):
    """More than ``MAX_REPORT_EVIDENCE_BYTES`` of messages together."""

    code = "report_too_large"
    message = "These messages are too long for one report. Choose fewer of them."
    status = 413
