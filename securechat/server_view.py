"""What the server can see and what it cannot, for people to read, each with the test that checks it.

``tests/securechat/test_server_view.py`` holds this to the truth: every test named here exists, and every column of the
database is in ``TABLES``, so a new column has to say what it shows before it can land.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Shown(Enum):
    """How a column lies in the database; the value is for people."""

    CLEAR = "readable"
    INDEX = "scrambled: can be compared, not turned back"
    SERVER = "locked; the server has the key, outside the database"
    PEOPLE = "locked by browsers; the server has no key"


@dataclass(frozen=True)
class Fact:
    """``tests`` are pytest's names, from the project's folder."""

    title: str
    explanation: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    title: str
    columns: Mapping[str, tuple[Shown, str]]


def _attacks(*names: str) -> tuple[str, ...]:
    """A hostile server does it to a real browser."""
    return tuple(f"tests/attacks/test_attacks.py::test_the_attack_is_seen[chromium-{name}]" for name in names)


_HERE = "tests/securechat/test_server_view.py"
_CANARY = (
    "tests/e2e/test_canary.py::test_no_password_message_code_or_private_key_reaches_the_server",
    "tests/e2e/test_canary.py::test_the_search_finds_a_word_in_each_of_its_forms",
)
COLUMNS_TEST = f"{_HERE}::test_every_column_of_the_database_is_listed"

SEEN = (
    Fact(
        "Your username",
        "It is stored as you typed it, with the day you signed up and the time of your last log-in.",
        (f"{_HERE}::test_a_name_and_its_times_are_readable",),
    ),
    Fact(
        "Who your friends are",
        "Your friends' names are locked in the database. The running server has the key, because it delivers your "
        "messages, so whoever runs it can look. Who sent a friend request is readable without any key. So is whose "
        "friend link you open, at that moment.",
        (
            "tests/friends/test_admin.py::test_the_list_shows_both_names",
            f"{_HERE}::test_of_a_friendship_only_who_asked_is_readable",
            f"{_HERE}::test_a_friend_link_tells_the_server_whose_it_is",
        ),
    ),
    Fact(
        "Who writes to whom, when, and how much",
        "Each message is stored with its time, its number, its writer and its size. The size is rounded up by at most "
        "12 percent: a long message can be told from a short one.",
        (
            f"{_HERE}::test_a_message_shows_its_side_time_and_size",
            "tests/test_peer.py::test_padding_costs_at_most_twelve_percent",
        ),
    ),
    Fact(
        "When you are online",
        "Your friends are told, so the server knows. When you were last here is stored for each browser in which you "
        "are logged in.",
        (
            "tests/messaging/test_presence.py::test_a_friend_sees_the_first_socket_come_and_the_last_one_go",
            f"{_HERE}::test_a_log_in_shows_its_times_and_hides_address_and_browser",
        ),
    ),
    Fact(
        "Your network address, and what your browser calls itself",
        "Both arrive with every page you open. They are stored for your list of browsers until you log out there, "
        "locked. The running server has the key, so that it can show them to you.",
        (
            f"{_HERE}::test_a_log_in_shows_its_times_and_hides_address_and_browser",
            f"{_HERE}::test_a_log_out_takes_address_and_browser_away",
        ),
    ),
    Fact(
        "How many browsers you have, and about how many friends",
        "Your browsers' public keys are a list that your friends read, too. What your browsers store for you here is "
        "locked, but it grows with each conversation.",
        (
            "tests/messaging/test_reading.py::test_both_people_read_each_others_chain",
            f"{_HERE}::test_a_vault_shows_its_size_and_nothing_in_it",
        ),
    ),
    Fact(
        "What has reached you, and when you read",
        "Up to which message your browser has everything is readable: that makes the second tick. Up to where you have "
        "read is locked for your friend alone. But the server sees the moment at which your browser says so. If you do "
        "not want that, turn off “Show friends when I have read their messages”.",
        (
            "tests/messaging/test_reading.py::test_a_newer_head_replaces_the_one_before_and_is_told",
            "tests/messaging/test_reading.py::test_a_head_of_the_same_place_says_that_more_was_read",
        ),
    ),
)

UNSEEN = (
    Fact(
        "What you write",
        "A test writes a sentence in a real browser. Then it searches the database, Redis, the logs and everything "
        "that reached the server for that sentence. It must not be there.",
        _CANARY,
    ),
    Fact(
        "Your password",
        "Your browser turns it into a key and sends only that. The server refuses anything else. Whoever takes all of the "
        "server's files can still guess passwords one by one, slowly: choose one that nobody guesses.",
        (
            *_CANARY,
            "tests/accounts/test_pages.py::test_no_password_field_has_a_name_that_a_form_would_send",
            "tests/accounts/test_canary.py::test_a_password_that_strayed_into_a_request_is_neither_logged_nor_echoed",
        ),
    ),
    Fact(
        "Your recovery code and your private keys",
        "They are made in your browser. What the server stores of them is locked with your password and your code.",
        (*_CANARY, "tests/accounts/test_sign_up.py::test_what_was_sent_is_not_in_the_database_as_it_was"),
    ),
    Fact(
        "Whom you have compared safety numbers with",
        "That is in what your browsers store, locked with a key that only they have.",
        (f"{_HERE}::test_a_vault_shows_its_size_and_nothing_in_it",),
    ),
)

LESS_SEEN = (
    Fact(
        "A thief with only the database",
        "Such a thief reads usernames, times and sizes, and how often somebody asked for friends. The names of those "
        "friends, network addresses and browsers stay locked: their key is not in the database.",
        (
            "tests/friends/test_requests.py::test_no_column_contains_the_friends_name",
            f"{_HERE}::test_what_is_called_locked_has_no_name_key_or_device_in_it",
        ),
    ),
    Fact(
        "Redis and the logs",
        "Redis, which tells the server's parts that something happened, holds numbers of accounts and conversations. "
        "The logs hold times and what went wrong. Neither holds names.",
        (
            "tests/e2e/test_canary.py::test_neither_redis_nor_the_log_names_anybody",
            "tests/securechat/test_ratelimit.py::test_redis_sees_neither_the_name_nor_a_bucket_without_an_end",
            "tests/securechat/test_valkey.py::test_it_opens_no_port_and_keeps_nothing_on_disk",
        ),
    ),
)

NOTICED = (
    Fact(
        "Change, repeat, move or drop a message",
        "Your browser shows an alarm. Only the newest messages can be held back quietly, until the next one comes: "
        "that looks like a slow network.",
        (
            *_attacks("flips_a_bit", "replays", "reorders", "redirects", "drops_in_the_middle"),
            *_attacks("answers_with_holes", "rolls_the_log_back", "hides_the_newest"),
        ),
    ),
    Fact(
        "Show you wrong keys for a friend",
        "The first keys that the server shows you for a friend are believed until you compare safety numbers. Numbers "
        "that differ stop sending, and keys that change later are pointed out.",
        (
            "tests/e2e/test_safety_numbers.py::test_numbers_that_differ_stop_sending_until_that_is_cleared",
            *_attacks("swaps_a_key_at_first_contact", "swaps_a_key_later", "forges_a_reset"),
        ),
    ),
)

_NUMBER = (Shown.CLEAR, "the number of the row")
_WHOSE = (Shown.CLEAR, "whose it is")
_CONVERSATION = (Shown.CLEAR, "which conversation, a random number")
_STORED = (Shown.CLEAR, "when it was stored")

TABLES: Mapping[str, Table] = {
    "accounts_user": Table(
        "People",
        {
            "id": _NUMBER,
            "password": (Shown.INDEX, "a hash of a key that your browser derived from the password"),
            "last_login": (Shown.CLEAR, "when you last logged in"),
            "is_superuser": (Shown.CLEAR, "whether you may do everything in the admin"),
            "username": (Shown.CLEAR, "your name"),
            "folded_name": (Shown.CLEAR, "your name in small letters"),
            "client_salt": (Shown.CLEAR, "random bytes that make your password's key unlike anybody else's"),
            "legacy_salt": (Shown.CLEAR, "the same from the first version, until the next log-in"),
            "session_stamp": (Shown.CLEAR, "random, replaced to end all your sessions"),
            "is_staff": (Shown.CLEAR, "whether you may open the admin"),
            "is_active": (Shown.CLEAR, "whether your account is open"),
            "date_joined": (Shown.CLEAR, "when you signed up"),
            "deleted_at": (
                Shown.CLEAR,
                "when you deleted your account; name and public keys are left for friends",
            ),
        },
    ),
    "accounts_door": Table(
        "What your password and your recovery code open",
        {
            "id": _NUMBER,
            "user_id": _WHOSE,
            "kind": (Shown.CLEAR, "password or recovery code"),
            "sealed_content": (Shown.PEOPLE, "the keys of your vault and of your identity"),
        },
    ),
    "accounts_vault": Table(
        "What your browsers keep for you",
        {
            "user_id": _WHOSE,
            "version": (Shown.CLEAR, "how often it was written"),
            "sealed_box": (Shown.PEOPLE, "your keys, and whom you have verified; its size is readable"),
        },
    ),
    "accounts_sanction": Table(
        "Warnings, mutes, suspensions and bans",
        {
            "id": _NUMBER,
            "user_id": _WHOSE,
            "kind": (Shown.CLEAR, "which of them"),
            "reason": (Shown.CLEAR, "what the operators tell you"),
            "starts_at": (Shown.CLEAR, "from when"),
            "ends_at": (Shown.CLEAR, "until when"),
            "imposed_by_id": (Shown.CLEAR, "by which operator"),
            "report": (Shown.CLEAR, "the number of the report that it came from"),
            "needs_approval": (Shown.CLEAR, "whether another operator has to approve it"),
            "acknowledged_at": (Shown.CLEAR, "when you read a warning"),
            "lifted_at": (Shown.CLEAR, "when it was taken back"),
        },
    ),
    "accounts_recoverycode": Table(
        "Recovery codes",
        {
            "user_id": _WHOSE,
            "proof_hash": (Shown.INDEX, "a hash of one half of what the code gives"),
            "confirmed": (Shown.CLEAR, "whether you typed it back"),
            "made_at": (Shown.CLEAR, "when it was made"),
        },
    ),
    "accounts_keychainentry": Table(
        "Which browsers are yours",
        {
            "id": _NUMBER,
            "user_id": _WHOSE,
            "seq": (Shown.CLEAR, "its place in the chain"),
            "sealed_entry": (Shown.SERVER, "the entry, which your friends read"),
            "stored_at": _STORED,
        },
    ),
    "accounts_browsersession": Table(
        "Where you are logged in",
        {
            "id": (Shown.CLEAR, "a random number"),
            "user_id": _WHOSE,
            "session_id": (Shown.CLEAR, "which session"),
            "sealed_details": (
                Shown.SERVER,
                "network address, what the browser calls itself, the number of its key",
            ),
            "signed_in_at": (Shown.CLEAR, "when you logged in"),
            "seen_at": (Shown.CLEAR, "when you were last there"),
        },
    ),
    "friends_friendship": Table(
        "Friendships and requests",
        {
            "id": _NUMBER,
            "public_id": (Shown.CLEAR, "a random number, the conversation's too"),
            "sender_id": (Shown.CLEAR, "who asked first"),
            "friend_sealed": (Shown.SERVER, "who was asked"),
            "friend_index": (Shown.INDEX, "who was asked, to find rows by; equal for the same person"),
            "pair_index": (Shown.INDEX, "the two people, to find rows by"),
            "status": (Shown.CLEAR, "asked, friends, rejected, ended, blocked"),
            "status_below": (Shown.CLEAR, "what it was before a block"),
            "asked_by_side": (Shown.CLEAR, "which of the two asked last"),
            "blocked_by_0": (Shown.CLEAR, "whether the one blocked the other"),
            "blocked_by_1": (Shown.CLEAR, "and the other the one"),
            "was_approved": (Shown.CLEAR, "whether they were ever friends"),
            "asked_at": (Shown.CLEAR, "when it was asked"),
            "answered_at": (Shown.CLEAR, "when it was answered"),
            "approved_at": (Shown.CLEAR, "when they became friends"),
            "ended_at": (Shown.CLEAR, "when that ended"),
        },
    ),
    "messaging_conversation": Table(
        "Conversations",
        {
            "id": _CONVERSATION,
            "last_n": (Shown.CLEAR, "how many messages"),
            "log_hash": (Shown.CLEAR, "a hash over all of them, locked as they are"),
            "epoch": (Shown.CLEAR, "how often the conversation's key was replaced"),
            "active_at": (Shown.CLEAR, "when something last happened"),
        },
    ),
    "messaging_epochrecord": Table(
        "Conversation keys",
        {
            "id": _NUMBER,
            "conversation_id": _CONVERSATION,
            "number": (Shown.CLEAR, "which of its keys, counted from 1"),
            "sealed_record": (
                Shown.PEOPLE,
                "the key, locked for the two people; around it their fingerprints, locked by the server",
            ),
            "stored_at": _STORED,
        },
    ),
    "messaging_envelope": Table(
        "Messages",
        {
            "id": _NUMBER,
            "conversation_id": _CONVERSATION,
            "n": (Shown.CLEAR, "its number in the conversation"),
            "side": (Shown.CLEAR, "which of the two people"),
            "client_id": (
                Shown.CLEAR,
                "against doubles: the last number that its browser knew, and a random one",
            ),
            "epoch": (Shown.CLEAR, "under which key"),
            "writer": (Shown.CLEAR, "a random number of the tab it was written in"),
            "writer_seq": (Shown.CLEAR, "its number in that tab"),
            "envelope": (
                Shown.PEOPLE,
                "what was written; numbers and hashes on the outside and the size are readable",
            ),
            "envelope_hash": (Shown.CLEAR, "a hash of the locked bytes"),
            "log_hash": (Shown.CLEAR, "a hash of all messages up to here"),
            "stored_at": _STORED,
        },
    ),
    "messaging_head": Table(
        "What has reached whom",
        {
            "id": _NUMBER,
            "conversation_id": _CONVERSATION,
            "side": (Shown.CLEAR, "which of the two people"),
            "n": (Shown.CLEAR, "up to which message the browser has checked everything"),
            "head": (
                Shown.CLEAR,
                "the same, signed; up to where it was read is locked inside, for the two people",
            ),
        },
    ),
    "messaging_report": Table(
        "Reports to the operators",
        {
            "id": _NUMBER,
            "public_id": (Shown.CLEAR, "a random number"),
            "reported_id": (Shown.CLEAR, "who was reported"),
            "reported_name": (Shown.CLEAR, "the name of who was reported"),
            "category": (Shown.CLEAR, "what for"),
            "status": (Shown.CLEAR, "whether operators have looked at it, and what they decided"),
            "assignee_id": (Shown.CLEAR, "which operator looks at it"),
            "made_at": (Shown.CLEAR, "when it was sent"),
            "closed_at": (Shown.CLEAR, "when it was decided"),
            "message_count": (Shown.CLEAR, "how many messages were disclosed"),
            "verified_count": (Shown.CLEAR, "how many of them are proved"),
            "reporter_index": (Shown.INDEX, "who reported"),
            "sealed_evidence": (
                Shown.SERVER,
                "who reported, in which conversation, the note, and the keys that the reported person signed with",
            ),
        },
    ),
    "messaging_reportedmessage": Table(
        "Messages that were disclosed in reports",
        {
            "id": _NUMBER,
            "report_id": (Shown.CLEAR, "which report"),
            "position": (Shown.CLEAR, "its place in the report"),
            "problem": (Shown.CLEAR, "why it could not be proved, if it could not"),
            "sealed_row": (Shown.SERVER, "the message that the reporter chose to disclose, with its proof"),
        },
    ),
    "django_session": Table(
        "Cookies of log-ins",
        {
            "session_key": (Shown.CLEAR, "the secret of your cookie"),
            "session_data": (Shown.CLEAR, "whose session, signed by the server"),
            "expire_date": (Shown.CLEAR, "until when"),
        },
    ),
    "securechat_serverprocess": Table(
        "The processes of the server that run",
        {
            "id": (Shown.CLEAR, "random"),
            "version": (Shown.CLEAR, "of which version"),
            "started_at": (Shown.CLEAR, "since when"),
            "seen_at": (Shown.CLEAR, "when it last said so"),
            "sockets": (Shown.CLEAR, "how many chats are open in it"),
            "messages_a_minute": (Shown.CLEAR, "how many messages it stored in the minute before"),
        },
    ),
    "securechat_dailycount": Table(
        "What was refused on which day",
        {
            "id": _NUMBER,
            "day": (Shown.CLEAR, "which day"),
            "what": (Shown.CLEAR, "why; not to whom"),
            "count": (Shown.CLEAR, "how often"),
        },
    ),
    "accounts_invite": Table(
        "Invitations to sign up",
        {
            "id": _NUMBER,
            "code_hash": (Shown.INDEX, "a hash of the code; the code itself is not kept"),
            "note": (Shown.CLEAR, "for whom, as an operator wrote"),
            "uses": (Shown.CLEAR, "for how many accounts"),
            "uses_left": (Shown.CLEAR, "for how many more; not which accounts used it"),
            "made_at": (Shown.CLEAR, "when it was made"),
            "expires_at": (Shown.CLEAR, "until when it can be used"),
            "revoked_at": (Shown.CLEAR, "when it was revoked"),
            "made_by_id": (Shown.CLEAR, "by which operator"),
        },
    ),
    "accounts_dailysignal": Table(
        "Wrong passwords, and asking too fast",
        {
            "id": _NUMBER,
            "user_id": _WHOSE,
            "day": (Shown.CLEAR, "which day; the last 30 are kept"),
            "wrong_passwords": (Shown.CLEAR, "how often somebody typed a wrong password for your name"),
            "too_fast": (Shown.CLEAR, "how often your browsers asked for too much at once"),
        },
    ),
    "securechat_auditevent": Table(
        "What operators did and looked at",
        {
            "n": (Shown.CLEAR, "its place in the trail"),
            "at": (Shown.CLEAR, "when"),
            "action": (Shown.CLEAR, "what was done"),
            "by_id": (Shown.CLEAR, "which operator"),
            "by_name": (Shown.CLEAR, "the operator's name"),
            "on": (Shown.CLEAR, "to whom or what"),
            "why": (Shown.CLEAR, "the reason that the operator gave"),
            "source": (Shown.CLEAR, "from which address, or by which command"),
            "before": (Shown.CLEAR, "how it was"),
            "after": (Shown.CLEAR, "how it became"),
            "previous": (Shown.CLEAR, "a fingerprint of the event before, so that nothing is changed unseen"),
            "hash": (Shown.CLEAR, "a fingerprint of all this"),
        },
    ),
    "django_admin_log": Table(
        "What operators did in the admin",
        {
            "id": _NUMBER,
            "action_time": (Shown.CLEAR, "when"),
            "user_id": (Shown.CLEAR, "which operator"),
            "content_type_id": (Shown.CLEAR, "in which table"),
            "object_id": (Shown.CLEAR, "on which row"),
            "object_repr": (Shown.CLEAR, "what the row is called"),
            "action_flag": (Shown.CLEAR, "added, changed or deleted"),
            "change_message": (Shown.CLEAR, "what they changed"),
        },
    ),
}

# What operators may do, and their second factors (readable): nothing of a person is in them but which operator has which.
OPERATOR_TABLES = frozenset(
    {
        "accounts_user_groups",
        "accounts_user_user_permissions",
        "auth_group",
        "auth_group_permissions",
        "auth_permission",
        "django_content_type",
        "otp_static_staticdevice",
        "otp_static_statictoken",
        "otp_totp_totpdevice",
    }
)
