"""`manage.py demo_attack`: what it changes, that nothing of it is lost, and whom it leaves alone."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.chain import ChainState
from accounts.demo_people import DEMO_PASSWORDS
from accounts.models import KeyChainEntry, User
from accounts.services import key_chain
from friends.models import Friendship
from messaging.demo_attacks import Kind, forged_chain
from messaging.models import Conversation, Envelope, EpochRecord, Head
from messaging.services import conversations, delivery, epochs, heads
from messaging.services.delivery import Stored, Submission
from messaging.services.history import page
from messaging.wire import parse_envelope
from tests import factories
from tests.messaging.make_objects import Tab

pytestmark = pytest.mark.django_db

KINDS = get_args(Kind)
MESSAGES = 4


@dataclass
class Talk:
    """Two people and their friendship; each writes in a tab of their own."""

    users: tuple[User, User]
    tabs: tuple[Tab, Tab]
    friendship: Friendship = field(repr=False)

    @property
    def conversation(self) -> UUID:
        return self.friendship.public_id

    def write(self, side: int) -> None:
        frame = self.tabs[side].send()
        header = parse_envelope(frame.envelope)
        submission = Submission(side, header, frame.envelope, self.users[side], checked_at_seq=2)  # type: ignore[arg-type]
        (outcome,) = delivery.store([submission], now=timezone.now())
        assert isinstance(outcome, Stored), outcome
        self.confirm(1 - side)

    def confirm(self, side: int) -> None:
        """The browser of that side has checked the log up to its end."""
        conversation = Conversation.objects.get(friendship=self.friendship)
        head = self.tabs[side].head(conversation.last_n, bytes(conversation.log_hash))
        user = self.users[side]
        assert heads.store(user, conversations.membership_of(user, self.conversation), head)


def make_talk(names: tuple[str, str], passwords: tuple[str, str], *, messages: int = MESSAGES) -> Talk:
    keys = [Ed25519PrivateKey.generate() for _ in names]
    users = [
        factories.make_user(name, password, device=factories.raw_public(key))
        for name, password, key in zip(names, passwords, keys, strict=True)
    ]
    friendship = factories.befriend(*users)
    tabs = [Tab(friendship.public_id, key) for key in keys]
    talk = Talk((users[0], users[1]), (tabs[0], tabs[1]), friendship)
    membership = conversations.membership_of(users[0], talk.conversation)
    epochs.append(users[0], membership, 1, tabs[0].append().record)
    for number in range(messages):
        talk.write(number % 2)
    return talk


@pytest.fixture(autouse=True)
def var(settings: Settings, tmp_path: Path) -> Path:
    settings.VAR_DIR = str(tmp_path)
    return tmp_path


@pytest.fixture
def demo() -> Talk:
    return make_talk(("Alice", "Bobby"), (DEMO_PASSWORDS["Alice"], DEMO_PASSWORDS["Bobby"]))


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("demo_attack", *arguments, stdout=out)
    return out.getvalue()


def all_rows() -> list[list[dict[str, Any]]]:
    models = (User, Friendship, KeyChainEntry, Conversation, EpochRecord, Envelope, Head)
    return [
        [
            {name: bytes(value) if isinstance(value, memoryview) else value for name, value in row.items()}
            for row in model._default_manager.order_by("pk").values()
        ]
        for model in models
    ]


def newest(talk: Talk) -> Envelope | None:
    return Envelope.objects.filter(conversation=talk.conversation, n=MESSAGES).first()


def test_a_byte_of_the_newest_envelope_is_another(demo: Talk) -> None:
    before = newest(demo)
    assert before is not None

    said = run("flip-byte")

    after = newest(demo)
    assert after is not None
    pairs = zip(bytes(before.envelope), bytes(after.envelope), strict=True)
    ((at, was, now),) = [(at, a, b) for at, (a, b) in enumerate(pairs) if a != b]
    assert f"Byte {at} of message 4 between Alice and Bobby: 0x{was:02x} to 0x{now:02x}." in said
    assert parse_envelope(bytes(after.envelope)) == parse_envelope(bytes(before.envelope))
    assert bytes(after.envelope_hash) == bytes(before.envelope_hash)


def test_the_newest_row_is_gone_and_the_server_hands_out_what_is_left_as_if_it_were_all(demo: Talk) -> None:
    run("drop-row")

    membership = conversations.membership_of(demo.users[0], demo.conversation)
    shown = page(membership, "before", 0, 50)
    assert [row.n for row in shown.rows] == [1, 2, 3]
    assert page(membership, "after", MESSAGES, 50).last_n == shown.last_n == MESSAGES - 1


def test_the_friends_chain_is_a_valid_one_of_somebody_else(demo: Talk) -> None:
    alice, bobby = demo.users
    before = {user.pk: key_chain.entries_of(user) for user in demo.users}

    run("swap-key")

    swapped = key_chain.entries_of(bobby)
    assert key_chain.standing(bobby).seq == len(swapped) == len(before[bobby.pk]) + 1
    assert not set(swapped) & set(before[bobby.pk])
    assert key_chain.entries_of(alice) == before[alice.pk]


def test_a_forged_chain_follows_every_rule_but_that_of_who_signs() -> None:
    chain = ChainState("https://testserver", "bobby")

    for entry in forged_chain(origin="https://testserver", name="bobby", length=5):
        chain.follow(entry)

    assert (chain.seq, len(chain.standing())) == (5, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_undo_leaves_every_row_as_it_was(demo: Talk, var: Path, kind: Kind) -> None:
    before = all_rows()
    assert "Undo:     manage.py demo_attack --undo" in run(kind)
    assert all_rows() != before

    assert f"Undone: {kind}." in run(kind, "--undo")

    assert all_rows() == before
    assert not (var / "demo-attack.json").exists()
    demo.write(0)
    demo.write(1)


@pytest.mark.parametrize("kind", KINDS)
def test_each_can_be_shown_after_the_other_and_again(demo: Talk, kind: Kind) -> None:
    before = all_rows()

    for _ in range(2):
        run(kind)
        run("--undo")

    assert all_rows() == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_dry_run_changes_nothing(demo: Talk, var: Path, kind: Kind) -> None:
    before = all_rows()

    assert "Would change:" in run(kind, "--dry-run")

    assert all_rows() == before
    assert list(var.iterdir()) == []
    run(kind)
    attacked, kept = all_rows(), (var / "demo-attack.json").read_bytes()
    assert f"Would undo {kind}." in run("--undo", "--dry-run")
    assert (all_rows(), (var / "demo-attack.json").read_bytes()) == (attacked, kept)


# Nothing is lost


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_undo_needs_is_the_owners_alone(demo: Talk, var: Path, kind: Kind) -> None:
    run(kind)

    assert (var / "demo-attack.json").stat().st_mode & 0o777 == 0o600
    assert not (var / "demo-attack.new").exists()


@pytest.mark.parametrize("second", KINDS)
@pytest.mark.parametrize("first", KINDS)
def test_a_second_attack_waits_for_the_undo_of_the_first(demo: Talk, first: Kind, second: Kind) -> None:
    before = all_rows()
    run(first)
    attacked = all_rows()

    for how in ([], ["--dry-run"]):
        with pytest.raises(CommandError, match=f"{first} is in place already: undo it first"):
            run(second, *how)

    assert all_rows() == attacked
    run("--undo")
    assert all_rows() == before


class Dies(io.StringIO):
    """A terminal whose command is killed before it has said anything."""

    def write(self, text: str) -> int:
        raise KeyboardInterrupt


@pytest.mark.parametrize("kind", KINDS)
def test_killed_after_the_change_it_can_be_undone(demo: Talk, kind: Kind) -> None:
    before = all_rows()
    with pytest.raises(KeyboardInterrupt):
        call_command("demo_attack", kind, stdout=Dies())
    assert all_rows() != before

    run("--undo")

    assert all_rows() == before


@pytest.mark.parametrize("kind", KINDS)
def test_killed_between_the_file_and_the_change_nothing_has_changed(
    demo: Talk, var: Path, kind: Kind
) -> None:
    """The same place on the disk as an undo that was killed between the change and the file."""
    before = all_rows()
    run(kind)
    kept = (var / "demo-attack.json").read_bytes()
    run("--undo")
    (var / "demo-attack.json").write_bytes(kept)

    assert "nothing is left to undo" in run("--undo")

    assert all_rows() == before
    run(kind)
    run("--undo")
    assert all_rows() == before


@pytest.mark.parametrize("kind", KINDS)
def test_killed_before_the_change_people_may_go_on_before_the_undo(demo: Talk, var: Path, kind: Kind) -> None:
    run(kind)
    kept = (var / "demo-attack.json").read_bytes()
    run("--undo")
    (var / "demo-attack.json").write_bytes(kept)
    demo.write(0)
    before = all_rows()

    assert "nothing is left to undo" in run("--undo")

    assert all_rows() == before


def test_a_half_written_file_of_a_killed_command_is_nobodys_concern(demo: Talk, var: Path) -> None:
    (var / "demo-attack.new").write_text('{"kind": "fl')

    run("flip-byte")
    run("--undo")


@pytest.mark.parametrize("kind", KINDS)
def test_when_the_undo_cannot_be_kept_nothing_is_changed(demo: Talk, var: Path, kind: Kind) -> None:
    (var / "demo-attack.new").mkdir()

    assert refused(kind).startswith("What the undo needs could not be kept")


def test_what_was_written_on_top_of_a_dropped_row_is_not_overwritten(demo: Talk, var: Path) -> None:
    run("drop-row")
    demo.tabs[0].seq, demo.tabs[0].writer = 0, b"another tab of A"
    demo.tabs[0].prev = bytes(32)
    Head.objects.all().delete()
    demo.write(0)
    before = all_rows()

    with pytest.raises(CommandError, match="changed again since") as refused:
        run("--undo")

    assert str(var / "demo-attack.json") in str(refused.value)
    assert json.loads((var / "demo-attack.json").read_text())["kind"] == "drop-row"
    assert all_rows() == before


@pytest.mark.parametrize("kind", KINDS)
def test_when_the_conversation_is_gone_nothing_is_left_to_undo(demo: Talk, var: Path, kind: Kind) -> None:
    run(kind)
    for user in demo.users:
        user.delete()

    assert "nothing is left to undo" in run("--undo")

    assert not (var / "demo-attack.json").exists()


def test_without_an_attack_there_is_nothing_to_undo(demo: Talk) -> None:
    with pytest.raises(CommandError, match=r"^There is nothing to undo\.$"):
        run("--undo")


def test_the_undo_of_another_attack_is_refused(demo: Talk) -> None:
    run("flip-byte")

    with pytest.raises(CommandError, match="There is no drop-row to undo; flip-byte is in place"):
        run("drop-row", "--undo")


# Whom it leaves alone


def refused(*arguments: str) -> str:
    """The sentence; nothing was changed."""
    before = all_rows()
    with pytest.raises(CommandError) as refusal:
        run(*arguments)
    assert refusal.value.returncode == 1
    assert all_rows() == before
    return str(refusal.value)


@pytest.mark.parametrize("kind", KINDS)
def test_people_of_the_same_names_with_passwords_of_their_own_are_no_demo(kind: Kind) -> None:
    make_talk(("Alice", "Bobby"), (factories.PASSWORD, "An0ther-one!"))

    assert refused(kind).startswith("This is not a demo:")


@pytest.mark.parametrize("kind", KINDS)
def test_other_people_with_the_published_passwords_are_no_demo(kind: Kind) -> None:
    make_talk(("Alice1", "Bobby1"), (DEMO_PASSWORDS["Alice"], DEMO_PASSWORDS["Bobby"]))

    assert refused(kind).startswith("This is not a demo:")


@pytest.mark.parametrize("kind", KINDS)
def test_a_friend_from_outside_is_not_attacked(kind: Kind) -> None:
    talk = make_talk(("Alice", "Stranger"), (DEMO_PASSWORDS["Alice"], factories.PASSWORD))

    assert refused(kind) == "The people of the demo have no conversation yet."
    wanted = f"--conversation={talk.conversation}"
    assert refused(kind, wanted) == "That is not a conversation between two people of the demo."


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_conversation_of_the_demo_is_touched_on_a_server_with_others(demo: Talk, kind: Kind) -> None:
    others = make_talk(("Stranger", "Friend1"), (factories.PASSWORD, factories.PASSWORD))
    of_others = {"user__in": others.users}
    chains = list(KeyChainEntry.objects.filter(**of_others).order_by("pk").values())
    rows = list(Envelope.objects.filter(conversation=others.conversation).order_by("pk").values())

    run(kind)

    assert list(KeyChainEntry.objects.filter(**of_others).order_by("pk").values()) == chains
    assert list(Envelope.objects.filter(conversation=others.conversation).order_by("pk").values()) == rows
    assert refused(kind).startswith(f"{kind} is in place")


def test_keys_that_a_friend_from_outside_would_see_are_not_swapped(demo: Talk) -> None:
    stranger = factories.make_user("Stranger")
    factories.befriend(stranger, demo.users[1])

    assert refused("swap-key") == "Bobby has friends who are not of the demo, and they would see it too."
    run("flip-byte")


def test_a_message_that_no_browser_has_confirmed_is_not_dropped(demo: Talk) -> None:
    newest_head = Head.objects.get(n=MESSAGES)
    newest_head.n = MESSAGES - 1
    newest_head.save()

    assert refused("drop-row").startswith(
        "No browser has confirmed the newest message of Alice and Bobby yet"
    )

    newest_head.n = MESSAGES
    newest_head.save()
    run("drop-row")


def test_a_chosen_conversation_is_attacked(demo: Talk) -> None:
    run("flip-byte", "--conversation", str(demo.conversation))
    run("--undo")

    assert "That is not a conversation" in refused("flip-byte", "--conversation", str(uuid4()))


def test_before_anybody_has_written_there_is_nothing_to_show() -> None:
    make_talk(("Alice", "Bobby"), (DEMO_PASSWORDS["Alice"], DEMO_PASSWORDS["Bobby"]), messages=0)

    for kind in KINDS:
        assert refused(kind) == "Nobody has written in this conversation yet."


def test_without_an_attacks_name_the_choices_are_said(demo: Talk) -> None:
    assert refused() == "Name an attack (flip-byte, drop-row, swap-key), or --undo."


def test_a_dropped_first_message_leaves_an_empty_log() -> None:
    passwords = (DEMO_PASSWORDS["Alice"], DEMO_PASSWORDS["Bobby"])
    talk = make_talk(("Alice", "Bobby"), passwords, messages=1)
    before = all_rows()

    run("drop-row")

    shown = page(conversations.membership_of(talk.users[1], talk.conversation), "after", 0, 50)
    assert (shown.rows, shown.last_n) == ((), 0)
    run("--undo")
    assert all_rows() == before
