"""Bob reports what Alice wrote: what is proved, what is not, what is kept, and what operators do about it."""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import cbor2
import pytest
from django.conf import settings
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import User
from accounts.wire import encode_base64url
from friends import services as friends_services
from messaging import franking
from messaging.franking import Problem
from messaging.models import (
    Envelope,
    InvalidReportTransition,
    Report,
    ReportedMessage,
)
from messaging.services import conversations, delivery, epochs
from messaging.services import reports as report_services
from messaging.wire import envelope_hash, parse_envelope
from securechat import sealed
from securechat.audit import AuditEvent
from tests import factories
from tests.messaging.conftest import Person
from tests.messaging.make_objects import Tab

LIST = "admin:messaging_report_changelist"
SECRET_WORD = "xylophone-quartz"
Status = Report.Status


@dataclass(frozen=True)
class Said:
    """A message of Alice's, and what Bob's browser has of it."""

    n: int
    content: bytes
    franking_key: bytes

    def disclosed(self, **changes: Any) -> dict[str, Any]:
        fields = {
            "n": self.n,
            "content": encode_base64url(self.content),
            "franking_key": encode_base64url(self.franking_key),
        }
        return {**fields, **changes}


class Room:
    def __init__(self, conversation: UUID, a: Person, b: Person) -> None:
        self.conversation, self.a, self.b = conversation, a, b
        self.tab = a.tab(conversation)
        epochs.append(a.user, conversations.membership_of(a.user, conversation), 1, self.tab.record())

    def say(self, text: str, *, by: Person | None = None, commitment: bytes | None = None) -> Said:
        person = by or self.a
        tab = self.tab if person is self.a else Tab(self.conversation, person.key)
        content = cbor2.dumps([1, 1, 1_780_000_000_000, text.encode()], canonical=True)
        key, client_id = os.urandom(32), uuid4()
        header = parse_envelope(tab.envelope(client_id))
        envelope = tab.envelope(
            client_id, commitment=commitment or franking.commitment_to(header, key, content)
        )
        tab.seq, tab.prev = tab.seq + 1, envelope_hash(envelope)
        membership = conversations.membership_of(person.user, self.conversation)
        header = parse_envelope(envelope)
        submission = delivery.Submission(membership.side, header, envelope, person.user, checked_at_seq=2)
        (outcome,) = delivery.store([submission], now=timezone.now())
        assert isinstance(outcome, delivery.Stored), outcome
        return Said(outcome.n, content, key)

    def report(self, *messages: dict[str, Any], by: Person | None = None, **changes: Any) -> Any:
        body = {
            "conversation": str(self.conversation),
            "category": "harassment",
            "note": "Please look.",
            "messages": list(messages),
        }
        person = by or self.b
        return person.client.post(
            reverse("api-reports"), {**body, **changes}, content_type="application/json"
        )


@pytest.fixture
def room(conversation: UUID, a: Person, b: Person) -> Room:
    return Room(conversation, a, b)


@pytest.fixture
def moderator(transactional_db: None) -> User:
    return make_staff("Moderator", "view_report", "resolve_report", "view_evidence")


def make_staff(name: str, *codenames: str) -> User:
    user = factories.make_user(name)
    user.is_staff = True
    user.save()
    rights = Permission.objects.filter(content_type__app_label="messaging", codename__in=codenames)
    assert len(rights) == len(codenames)
    user.user_permissions.set(rights)
    return user


def only_report() -> Report:
    return Report.objects.get()


def problems() -> list[str]:
    return list(ReportedMessage.objects.values_list("problem", flat=True))


# What is proved


def test_what_alice_wrote_is_proved(room: Room) -> None:
    said = [room.say("one"), room.say("two")]

    answer = room.report(*(one.disclosed() for one in said))

    assert answer.status_code == 201
    assert answer.json() == {"report": only_report().pk, "verified": 2}
    checked = report_services.check_report(only_report())
    assert checked.holds
    assert [message.content and message.content.text for message in checked.messages] == ["one", "two"]
    assert [message.row.stored_at for message in checked.messages] == list(
        Envelope.objects.order_by("n").values_list("stored_at", flat=True)
    )


def test_only_what_was_chosen_is_kept(room: Room) -> None:
    room.say(SECRET_WORD)
    chosen = room.say("this one")

    room.report(chosen.disclosed())

    kept = only_report().evidence().encode() + ReportedMessage.objects.get().row().encode()
    assert encode_base64url(SECRET_WORD.encode())[:-2].encode() not in kept
    assert ReportedMessage.objects.get().row().n == chosen.n


def test_a_person_can_be_reported_without_messages(room: Room) -> None:
    assert room.report().json() == {"report": only_report().pk, "verified": 0}

    assert only_report().is_verified is None
    assert only_report().reported == room.a.user
    assert only_report().evidence().note == "Please look."


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"content": encode_base64url(cbor2.dumps([1, 1, 1, b"I never wrote this"]))}, Problem.OTHER_CONTENT),
        ({"franking_key": encode_base64url(bytes(32))}, Problem.OTHER_CONTENT),
        ({"n": 99}, Problem.NO_ROW),
    ],
)
def test_what_alice_did_not_write_cannot_be_verified(
    room: Room, changes: dict[str, Any], problem: Problem
) -> None:
    said = room.say("one")

    answer = room.report(said.disclosed(**changes))

    assert answer.status_code == 201
    assert answer.json()["verified"] == 0
    assert problems() == [problem]
    assert only_report().is_verified is False


def test_one_true_message_does_not_carry_a_false_one(room: Room) -> None:
    true, other = room.say("true"), room.say("other")

    room.report(true.disclosed(), other.disclosed(content=true.disclosed()["content"]))

    assert problems() == ["", Problem.OTHER_CONTENT]
    assert only_report().is_verified is False


def test_ones_own_message_proves_nothing_about_the_other(room: Room) -> None:
    mine = room.say("I wrote this myself", by=room.b)

    room.report(mine.disclosed())

    assert problems() == [Problem.NO_ROW]


def test_a_row_that_the_host_made_up_is_not_proved(room: Room) -> None:
    """The server's own row is not enough: a browser of Alice's has to have signed it."""
    said = room.say("one")
    row = Envelope.objects.get()
    parts = cbor2.loads(bytes(row.envelope))
    forged = cbor2.dumps([*parts[:3], os.urandom(64)], canonical=True)
    Envelope.objects.update(envelope=forged)

    room.report(said.disclosed())

    assert problems() == [Problem.FALSE_SIGNATURE]


def test_a_report_holds_after_the_messages_and_the_account_are_gone(room: Room) -> None:
    said = room.say("one")
    room.report(said.disclosed())

    room.a.user.delete()

    assert not Envelope.objects.exists()
    assert report_services.check_report(only_report()).holds
    assert only_report().reported is None
    assert only_report().reported_name == "Alice1"


def test_who_was_blocked_can_still_be_reported(room: Room) -> None:
    said = room.say("one")
    friends_services.block_person(blocked_by=room.b.user, public_id=room.conversation)

    room.report(said.disclosed())

    assert problems() == [""]


# Who may, and how much


def test_a_stranger_cannot_tell_a_foreign_conversation_from_none(room: Room, m: Person) -> None:
    said = room.say("one")

    foreign = room.report(said.disclosed(), by=m)
    none = room.report(said.disclosed(), by=m, conversation=str(uuid4()))

    assert (foreign.status_code, foreign.json()) == (none.status_code, none.json()) == (404, none.json())
    assert not Report.objects.exists()


def test_who_is_signed_out_reports_nothing(room: Room) -> None:
    anonymous = Person(room.b.user, room.b.key, Client())

    assert room.report(by=anonymous).status_code == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"category": "nonsense"},
        {"category": 1},
        {"note": "x" * 1_001},
        {"note": None},
        {"conversation": "nonsense"},
        {"extra": 1},
        {"messages": [{"n": 0, "content": "AA", "franking_key": encode_base64url(bytes(32))}]},
        {"messages": [{"n": 1, "content": "", "franking_key": encode_base64url(bytes(32))}]},
        {"messages": [{"n": 1, "content": "AA", "franking_key": encode_base64url(bytes(31))}]},
        {"messages": [{"n": 1, "content": "AA", "franking_key": encode_base64url(bytes(32))}] * 2},
    ],
)
def test_what_is_no_report_is_refused(room: Room, changes: dict[str, Any]) -> None:
    answer = room.report(**changes)

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")
    assert not Report.objects.exists()


def test_fifty_messages_and_no_more(room: Room) -> None:
    key = encode_base64url(bytes(32))
    messages = [{"n": n, "content": "AA", "franking_key": key} for n in range(1, 52)]

    assert room.report(*messages).status_code == 400
    assert room.report(*messages[:50]).status_code == 201
    assert only_report().message_count == 50


def test_more_than_the_evidence_may_have_is_refused(room: Room, settings: Settings) -> None:
    settings.MAX_REPORT_EVIDENCE_BYTES = 100
    said = room.say("x" * 200)

    assert room.report(said.disclosed()).json()["code"] == "report_too_large"
    assert not Report.objects.exists()


def test_reports_of_a_day_are_counted(room: Room, settings: Settings) -> None:
    settings.REPORTS_PER_DAY = 2

    assert [room.report().status_code for _ in range(3)] == [201, 201, 429]


def test_a_person_whose_account_is_gone_cannot_be_reported(conversation: UUID, a: Person, b: Person) -> None:
    """Bob is the one who was asked: his account can go, and the conversation stays."""
    room = Room(conversation, a, b)
    b.user.delete()

    assert room.report(by=a).json()["code"] == "reported_person_gone"


# At rest


def test_nothing_of_what_was_disclosed_or_by_whom_is_readable_in_the_tables(room: Room) -> None:
    said = room.say(SECRET_WORD)
    room.report(said.disclosed(), note=SECRET_WORD)

    for model in (Report, ReportedMessage):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {model._meta.db_table}")  # noqa: S608 - a table of ours
            stored = repr([[bytes(v) if isinstance(v, memoryview) else v for v in row] for row in cursor])
        assert SECRET_WORD not in stored
        assert "Bobby" not in stored
        assert str(room.conversation) not in stored


def test_evidence_does_not_open_in_another_report(room: Room) -> None:
    room.report(room.say("one").disclosed())
    room.report(room.say("two").disclosed())
    first, second = Report.objects.order_by("pk")
    Report.objects.filter(pk=first.pk).update(sealed_evidence=second.sealed_evidence)

    with pytest.raises(sealed.SealBroken):
        Report.objects.get(pk=first.pk).evidence()


# What the reporter is told


def own_page(client: Client) -> str:
    response = client.get(reverse("reports"))
    assert response.status_code == 200
    return response.content.decode()


def test_the_reporter_sees_what_came_of_it(room: Room, moderator: User) -> None:
    room.report()
    ids = [only_report().pk]

    assert "Waiting for an operator" in own_page(room.b.client)
    report_services.claim_reports(ids=ids, by=moderator)
    assert "An operator is looking at it" in own_page(room.b.client)
    report_services.dismiss_reports(ids=ids, by=moderator, reason="Nothing to see.")
    page = own_page(room.b.client)
    assert "found nothing to act upon" in page
    assert "Nothing to see." not in page
    assert "Moderator" not in page


def test_nobody_else_sees_it(room: Room, m: Person) -> None:
    room.report()

    for person in (room.a, m):
        assert "Harassment" not in own_page(person.client)
        assert "You have not reported anybody" in own_page(person.client)


# What operators do


def test_only_the_tables_steps_are_possible(room: Room, moderator: User) -> None:
    steps = {"claim": (moderator,), "release": (), "dismiss": (moderator,), "resolve": (moderator,)}
    leads_to = {
        "claim": Status.CLAIMED,
        "release": Status.OPEN,
        "dismiss": Status.DISMISSED,
        "resolve": Status.RESOLVED,
    }

    for status in Status:
        for step, arguments in steps.items():
            report = Report(status=status)
            if leads_to[step] in Report.NEXT_STATUSES[status]:
                getattr(report, step)(*arguments)
                assert report.status == leads_to[step]
            else:
                with pytest.raises(InvalidReportTransition):
                    getattr(report, step)(*arguments)
                assert report.status == status


def evidence_events() -> list[tuple[str, str]]:
    return list(AuditEvent.objects.filter(action="evidence.open").values_list("by_name", "on"))


def act(client: Client, action: str, reports: list[Report], **more: str) -> Any:
    chosen = {"action": action, "_selected_action": [str(report.pk) for report in reports], **more}
    return client.post(reverse(LIST), chosen, follow=True)


def said_to(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def test_a_report_is_claimed_and_dismissed_with_a_reason(room: Room, moderator: User) -> None:
    room.report(room.say("one").disclosed())
    client = factories.client_of(moderator)

    assert said_to(act(client, "claim", [only_report()])) == ["1 report claimed."]
    assert only_report().assignee == moderator
    assert "Dismiss 1 report?" in act(client, "dismiss", [only_report()]).content.decode()
    assert only_report().status == Status.CLAIMED
    refused = act(client, "dismiss", [only_report()], confirmed="yes", reason="  ")
    assert "This field is required." in refused.content.decode()
    assert only_report().status == Status.CLAIMED
    done = act(client, "dismiss", [only_report()], confirmed="yes", reason="A quarrel.")
    assert said_to(done) == ["1 report dismissed."]
    assert only_report().status == Status.DISMISSED
    assert only_report().closed_at is not None
    written = AuditEvent.objects.order_by("n").values_list("action", "why", "before", "after")
    assert list(written) == [
        ("report.claim", "", '{"status":"open"}', '{"status":"claimed"}'),
        ("report.dismiss", "A quarrel.", '{"status":"claimed"}', '{"status":"dismissed"}'),
    ]


def test_what_is_closed_is_skipped_and_counted(room: Room, moderator: User) -> None:
    for _ in range(3):
        room.report()
    report_services.resolve_reports(ids=[Report.objects.first().pk], by=moderator, reason="Done.")  # type: ignore[union-attr]

    done = act(
        factories.client_of(moderator), "resolve", list(Report.objects.all()), confirmed="yes", reason="Done."
    )

    assert said_to(done) == [
        "2 reports resolved.",
        "1 report skipped: not possible from their status.",
    ]


def test_staff_without_rights_see_no_report(room: Room) -> None:
    room.report()
    client = factories.client_of(make_staff("Justaff"))

    assert client.get(reverse(LIST)).status_code == 403


def test_who_may_only_look_cannot_act_or_open(room: Room) -> None:
    room.report(room.say(SECRET_WORD).disclosed())
    report = only_report()
    client = factories.client_of(make_staff("Looker", "view_report"))

    page = client.get(reverse("admin:messaging_report_change", args=[report.pk])).content.decode()

    assert "You may not open the evidence" in page
    assert client.post(reverse("admin:messaging_report_evidence", args=[report.pk])).status_code == 403
    act(client, "dismiss", [report], confirmed="yes", reason="x")
    assert only_report().status == Status.OPEN


def test_evidence_is_folded_until_it_is_opened_and_that_is_written_down(room: Room, moderator: User) -> None:
    said = room.say(SECRET_WORD)
    room.report(said.disclosed(), room.say("other").disclosed(franking_key=encode_base64url(bytes(32))))
    report = only_report()
    client = factories.client_of(moderator)
    address = reverse("admin:messaging_report_evidence", args=[report.pk])

    folded = client.get(reverse("admin:messaging_report_change", args=[report.pk])).content.decode()
    assert SECRET_WORD not in folded
    assert "Bobby" not in folded
    assert client.get(address).status_code == 405
    assert evidence_events() == []

    opened = client.post(address).content.decode()

    assert SECRET_WORD in opened
    assert "Bobby" in opened
    assert "Verified: sent by <bdi>Alice1</bdi> at" in opened
    assert "Cannot be verified." in opened
    assert evidence_events() == [(moderator.username, f"report:{report.pk}")]
    envelope = bytes(Envelope.objects.get(n=said.n).envelope)
    for secret in (envelope, cbor2.loads(envelope)[2], said.franking_key):
        assert encode_base64url(secret) not in opened
        assert secret.hex() not in opened


def test_the_oldest_that_waits_is_on_top(room: Room, moderator: User) -> None:
    for _ in range(3):
        room.report()
    first, second, third = Report.objects.order_by("pk")
    report_services.dismiss_reports(ids=[first.pk], by=moderator, reason="x")

    page = factories.client_of(moderator).get(reverse(LIST))

    assert [row.pk for row in page.context["cl"].result_list] == [second.pk, third.pk, first.pk]


def test_the_filters_find_what_they_say(room: Room, moderator: User) -> None:
    room.report(room.say("one").disclosed())
    room.report(room.say("two").disclosed(franking_key=encode_base64url(bytes(32))))
    room.report()
    verified, unproved, person = Report.objects.order_by("pk")
    report_services.claim_reports(ids=[verified.pk], by=moderator)
    report_services.dismiss_reports(ids=[unproved.pk], by=moderator, reason="x")
    Report.objects.filter(pk=person.pk).update(made_at=timezone.now() - 2 * settings.REPORT_OVERDUE)
    client = factories.client_of(moderator)

    def found(**query: str) -> set[int]:
        return {row.pk for row in client.get(reverse(LIST), query).context["cl"].result_list}

    assert found(queue="open") == {verified.pk, person.pk}
    assert found(queue="mine") == {verified.pk}
    assert found(queue="unassigned") == {person.pk}
    assert found(queue="overdue") == {person.pk}
    assert found(verified="yes") == {verified.pk}
    assert found(verified="no") == {unproved.pk}
    assert found(verified="none") == {person.pk}
    assert found(q="ALI") == {verified.pk, unproved.pk, person.pk}


def test_the_list_costs_the_same_for_many(room: Room, moderator: User, settings: Settings) -> None:
    settings.REPORTS_PER_DAY = 100
    client = factories.client_of(moderator)
    counts = []
    for more in (2, 20):
        for _ in range(more):
            room.report()
        with CaptureQueriesContext(
            connection,
        ) as queries:
            client.get(reverse(LIST))
        counts.append(len(queries))

    assert counts[0] == counts[1] <= 20


# manage.py verify_report


def verify(report: Report, *arguments: str) -> tuple[int, str]:
    """Exit code, and what it said."""
    out = io.StringIO()
    try:
        call_command("verify_report", str(report.pk), *arguments, stdout=out)
    except CommandError as error:
        return error.returncode, f"{out.getvalue()}{error}"
    return 0, out.getvalue()


def test_the_command_proves_a_report_from_itself_alone(room: Room) -> None:
    room.report(room.say(SECRET_WORD).disclosed())
    room.a.user.delete()

    code, text = verify(only_report())

    assert code == 0
    assert "1: Verified: sent by alice1 at" in text
    assert SECRET_WORD not in text


def test_the_command_says_what_is_not_verified(room: Room) -> None:
    room.report(room.say("one").disclosed(franking_key=encode_base64url(bytes(32))))

    code, text = verify(only_report(), "--json")

    assert code == 1
    shown = json.loads(text[: text.rindex("}") + 1])
    assert shown["holds"] is False
    assert shown["messages"][0]["problem"] == "other_content"


def test_the_command_does_not_check_what_is_not_there(room: Room) -> None:
    room.report()

    assert verify(only_report())[0] == 2
    assert verify(Report(pk=999))[0] == 2


def test_the_command_does_not_trust_the_stored_verdict(room: Room) -> None:
    room.report(room.say("one").disclosed(franking_key=encode_base64url(bytes(32))))
    ReportedMessage.objects.update(problem="")
    Report.objects.update(verified_count=1)

    assert verify(only_report())[0] == 1
