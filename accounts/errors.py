"""What people and browsers are told when an act on an account is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from securechat.errors import DomainError


class FieldsRefused(DomainError):
    """One message for each broken rule, by the field that broke it."""

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.fields = fields


class MalformedRequest(DomainError):
    code = "malformed_request"
    message = "The server did not understand this page. Reload it and try again."


class SignedOut(DomainError):
    code = "signed_out"
    message = "You are not logged in any more. Please log in again."
    status = 401


class WrongCredentials(DomainError):
    """No such name, somebody inactive, or a wrong password: they look the same and take the same time."""

    code = "wrong_credentials"
    message = "Username or password is incorrect."
    status = 403


class ShutOut(DomainError):
    """Suspended or banned; told only to who proved the password. The message has the reason, the end and how to appeal."""

    code = "shut_out"
    message = "This account is closed."
    status = 403


class SanctionRefused(DomainError):
    """Told to an operator: what they wanted cannot be imposed, approved or lifted."""

    code = "sanction_refused"
    message = "That is not possible."
    status = 409


class WrongCode(DomainError):
    """Of a second factor: wrong, used before, or of a factor that is not there."""

    code = "wrong_code"
    message = "That code is not right, or was used before. Wait for the next one and try again."
    status = 403


class WrongPassword(DomainError):
    """Of somebody who is logged in and had to prove the password again."""

    code = "wrong_credentials"
    message = "Your current password is incorrect."
    status = 403


class WrongRecoveryCode(DomainError):
    """No such name, no recovery code, or another one: they look the same and take the same time."""

    code = "wrong_recovery"
    message = "Username or recovery code is incorrect."
    status = 403


class UsernameInvalid(FieldsRefused):
    code = "invalid_username"
    message = "This username cannot be used."


class UsernameTaken(FieldsRefused):
    code = "username_taken"
    message = "This username is already taken."
    status = 409

    def __init__(self) -> None:
        super().__init__({"username": [self.message]})


class KeysExist(DomainError):
    code = "keys_exist"
    message = "This account has its keys already."
    status = 409


class SignUpClosed(DomainError):
    code = "sign_up_closed"
    message = "This server takes no new accounts."
    status = 403


class InviteRefused(DomainError):
    """None such, used up, expired or revoked: they look the same."""

    code = "invite_refused"
    message = "This invite code cannot be used. Check it, or ask for another one."
    status = 403


class DeletionRefused(DomainError):
    """The message says why, in a sentence for whoever asked for it."""

    code = "deletion_refused"
    message = "This account cannot be deleted."
    status = 409


class KeysMissing(DomainError):
    code = "keys_missing"
    message = "This account has no keys yet. Log in again to make them."
    status = 409


class KeysInvalid(DomainError):
    """The key chain is not signed, linked or named as it has to be, or doors or vault are incomplete."""

    code = "invalid_keys"
    message = "The server could not accept these keys. Reload the page and try again."


class ChainRefused(DomainError):
    """The entry breaks a rule of key chains, has no place in this request, or there are too many."""

    code = "chain_refused"
    message = "The server could not accept these keys. Reload the page and try again."


class ChainConflict(DomainError):
    """The chain grew a moment ago: fetch it, sign again."""

    code = "chain_conflict"
    message = "Another browser changed your keys at the same moment. Please try again."
    status = 409


class UnknownDevice(DomainError):
    """The device does not stand on the person's key chain."""

    code = "unknown_device"
    message = "This browser is not on the list of your browsers. Please sign in again."


class BrowserBound(DomainError):
    """This session belongs to another device that stands."""

    code = "browser_bound"
    message = "You logged in here with another browser. Please log in again."
    status = 409


class SessionNotFound(DomainError):
    """None such, not this person's, or ended already: they look the same."""

    code = "session_not_found"
    message = "This browser is not logged in any more."
    status = 404


class VaultConflict(DomainError):
    """The vault has another version by now: fetch it, merge, try again."""

    code = "vault_conflict"
    message = "Another browser changed your keys at the same moment. Please try again."
    status = 409
