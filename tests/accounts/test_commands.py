from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.models import User
from accounts.services import vaults
from securechat import events
from tests.accounts.browser import Browser
from tests.accounts.conftest import Committing
from tests.factories import PASSWORD, client_of, make_user_without_keys

pytestmark = pytest.mark.django_db
NEW = "An0ther#One"
DERIVED = "ak1:" + "A" * 43
Typing = Callable[..., None]


@pytest.fixture
def typing(monkeypatch: pytest.MonkeyPatch) -> Typing:
    """What the operator answers to the prompts, in order; names where ``input`` asks, passwords where ``getpass`` does."""

    def answer(*passwords: str, names: tuple[str, ...] = ()) -> None:
        typed_passwords, typed_names = iter(passwords), iter(names)
        monkeypatch.setattr("getpass.getpass", lambda *_: next(typed_passwords))
        monkeypatch.setattr(
            "accounts.management.commands.changepassword.getpass", lambda *_: next(typed_passwords)
        )
        monkeypatch.setattr("builtins.input", lambda *_: next(typed_names))

    return answer


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def create_superuser(**options: Any) -> str:
    out = io.StringIO()
    call_command("createsuperuser", stdin=Terminal(), stdout=out, stderr=out, **options)
    return out.getvalue()


def change_password(name: str) -> str:
    out = io.StringIO()
    call_command("changepassword", name, stdout=out, stderr=out)
    return out.getvalue()


def test_a_superuser_is_made_by_answering_the_questions(typing: Typing) -> None:
    typing(PASSWORD, PASSWORD, names=("Root01",))

    assert "created successfully" in create_superuser()

    user = User.objects.get()
    assert (user.username, user.is_staff, user.is_superuser) == ("Root01", True, True)
    assert Browser().log_in("Root01").json()["keys"] is None


def test_a_superuser_is_made_without_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)

    create_superuser(interactive=False, username="Root01")

    assert Browser().log_in("Root01").status_code == 200


@pytest.mark.parametrize("name", ["Root", "Root 1", "ALICE1"])
def test_a_superuser_has_a_name_like_everybody(name: str, alice: User) -> None:
    with pytest.raises(CommandError):
        create_superuser(interactive=False, username=name)
    assert User.objects.count() == 1


def test_a_taken_name_is_asked_again(alice: User, typing: Typing) -> None:
    typing(PASSWORD, PASSWORD, names=("aLICE1", "Root01"))

    assert "already taken" in create_superuser()
    assert User.objects.by_name("Root01") is not None


def test_a_weak_password_is_named_and_asked_again(typing: Typing) -> None:
    typing("abcd", "abcd", PASSWORD, PASSWORD, names=("Root01", "n"))

    said = create_superuser()

    assert "Use at least 8 characters." in said
    assert Browser().log_in("Root01").status_code == 200


def test_a_password_that_looks_derived_is_refused_even_when_the_rules_are_skipped(typing: Typing) -> None:
    typing(DERIVED, DERIVED, names=("Root01", "y"))

    with pytest.raises(CommandError, match="cannot begin with ak1:"):
        create_superuser()
    assert not User.objects.exists()


def test_a_password_that_looks_derived_is_refused_without_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", DERIVED)

    with pytest.raises(CommandError, match="cannot begin with ak1:"):
        create_superuser(interactive=False, username="Root01")
    assert not User.objects.exists()


def test_a_new_password_from_the_command_line_says_what_it_costs(
    alice: User, typing: Typing, heard: list[events.Event], committing: Committing
) -> None:
    client = client_of(alice)
    typing(NEW, NEW)

    with committing():
        said = change_password("aLICE1")

    assert "opens with the recovery code only" in said
    assert "or they can start fresh, without their messages" in said
    assert NEW not in said
    assert client.get("/settings/").status_code == 302
    assert events.SessionsChanged(alice.pk) in heard
    assert [door.kind for door in vaults.doors_of(alice)] == ["recovery"]
    assert Browser().log_in("Alice1").status_code == 403
    assert Browser().log_in("Alice1", NEW).status_code == 200


def test_who_has_no_keys_yet_loses_none(typing: Typing) -> None:
    make_user_without_keys("Oscar1")
    typing(NEW, NEW)

    assert "recovery code" not in change_password("Oscar1")
    assert Browser().log_in("Oscar1", NEW).status_code == 200


def test_a_new_password_keeps_the_rules_and_is_typed_twice(alice: User, typing: Typing) -> None:
    typing("abcd", "abcd", NEW, "Wr0ng#One", "Alice1", "Alice1")

    with pytest.raises(CommandError, match="stays as it was"):
        change_password("Alice1")
    assert Browser().log_in("Alice1").status_code == 200


@pytest.mark.parametrize("typed", [(DERIVED,) * 6, ("",)])
def test_a_derived_or_an_empty_password_is_no_new_one(
    alice: User, typing: Typing, typed: tuple[str, ...]
) -> None:
    typing(*typed)

    with pytest.raises(CommandError):
        change_password("Alice1")
    assert Browser().log_in("Alice1").status_code == 200


def test_nobody_of_that_name() -> None:
    with pytest.raises(CommandError, match="nobody"):
        change_password("Nobody1")
