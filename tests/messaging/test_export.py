"""What a person gets of what the server holds about them."""

from __future__ import annotations

import io
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command
from django.http import StreamingHttpResponse
from django.test import AsyncClient

from accounts.models import Sanction
from accounts.services import sanctions
from accounts.services.export import FORMAT, export, sections
from friends import services
from messaging.models import Report
from messaging.services import reports
from tests import factories
from tests.accounts.browser import signed_in
from tests.messaging.conftest import Person, befriend
from tests.messaging.test_deletion import DECIDED
from tests.messaging.test_reading import fill

pytestmark = pytest.mark.django_db(transaction=True)


def exported(person: Person) -> dict[str, Any]:
    document: dict[str, Any] = json.loads("".join(export(person.user)))
    return document


async def test_it_has_everything_and_is_one_document(a: Person, b: Person, conversation: UUID) -> None:
    async with a.socket() as alice:
        await fill(alice, a.tab(conversation), 3)
    await sync_to_async(reports.make_report)(
        by=a.user, conversation=conversation, category=Report.Category.SPAM, note="Too much.", disclosed=()
    )
    await sync_to_async(sanctions.impose)(
        user=a.user, kind=Sanction.Kind.WARNING, reason="Be kind.", by=None, source="test"
    )

    document = await sync_to_async(exported)(a)

    assert document["format"] == FORMAT
    assert set(sections()) < set(document)
    assert document["account"][0]["username"] == "Alice1"
    assert [row["address"] for row in document["sessions"]] == ["127.0.0.1"]
    assert [row["with"] for row in document["friendships"]] == ["Bobby"]
    assert [(row["n"], row["by"]) for row in document["envelopes"]] == [(1, "you"), (2, "you"), (3, "you")]
    assert len(document["key_chain"]) == 2
    assert len(document["doors"]) == 2
    assert document["reports"][0]["note"] == "Too much."
    assert document["sanctions"][0]["reason"] == "Be kind."
    assert [row["action"] for row in document["audit_trail"]] == ["user.warn"]


async def test_it_says_nothing_of_who_reported_and_blocked(a: Person, b: Person, conversation: UUID) -> None:
    await sync_to_async(reports.make_report)(
        by=b.user, conversation=conversation, category=Report.Category.SPAM, note="Canary-note", disclosed=()
    )
    await sync_to_async(services.block_person)(blocked_by=b.user, public_id=conversation)

    text = json.dumps(await sync_to_async(exported)(a))

    assert "Canary-note" not in text
    assert "blocked" not in text


def test_every_table_about_an_account_is_exported_or_left_out_for_a_reason() -> None:
    left_out = {
        "accounts.Invite.made_by",
        "accounts.Sanction.imposed_by",  # Who did it is the operators'.
        "admin.LogEntry.user",  # An operator's work, not theirs to take along.
        "messaging.Report.assignee",
        "messaging.Report.reported",  # Who reported is hidden from who was reported.
        "accounts.User.user_permissions",  # Roles are groups.
    }
    exported_by = {
        "accounts.BrowserSession.user": "sessions",
        "accounts.DailySignal.user": "signals",
        "accounts.Door.user": "doors",
        "accounts.KeyChainEntry.user": "key_chain",
        "accounts.RecoveryCode.user": "recovery_code",
        "accounts.Sanction.user": "sanctions",
        "accounts.Vault.user": "vault",
        "accounts.User.groups": "account",
        "friends.Friendship.sender": "friendships",
        "otp_static.StaticDevice.user": "account",
        "otp_totp.TOTPDevice.user": "account",
    }
    assert left_out | set(exported_by) == set(DECIDED)
    assert set(exported_by.values()) <= set(sections())


async def test_a_person_gets_it_with_their_password(a: Person) -> None:
    client = AsyncClient()
    await client.aforce_login(a.user)
    body = {"auth_key": factories.auth_key_for("Alice1")}

    answer = await client.post("/api/account/export/", json.dumps(body), content_type="application/json")

    assert isinstance(answer, StreamingHttpResponse)
    text = b"".join([piece async for piece in cast(AsyncIterator[bytes], answer)])
    assert json.loads(text)["account"][0]["username"] == "Alice1"


def test_nobody_gets_it_without() -> None:
    factories.make_user("Alice1")

    answer = signed_in("Alice1").post(
        "/api/account/export/", {"auth_key": factories.auth_key_for("Alice1", "Wr0ng#password")}
    )

    assert answer.json()["code"] == "wrong_credentials"


def test_the_command_writes_a_file_for_its_owner_alone(a: Person, tmp_path: Path) -> None:
    path = tmp_path / "alice.json"

    call_command("export_user", "Alice1", str(path), stderr=io.StringIO())

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["name"] == "Alice1"
    with pytest.raises(CommandError, match="exists already"):
        call_command("export_user", "Alice1", str(path))
    with pytest.raises(CommandError, match="nobody of that name"):
        call_command("export_user", "Nobody1", "-")


def test_a_large_account_is_read_row_by_row(a: Person, b: Person) -> None:
    befriend(a, b)
    pieces = export(a.user)

    assert len(next(pieces)) < 500  # Nothing is gathered before the first piece.
