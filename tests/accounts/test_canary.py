"""A password, a key and a name that are planted in requests, and looked for where they must not be."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest
from django.test import Client
from django.views.debug import SafeExceptionReporterFilter, get_exception_reporter_filter

from accounts import api
from accounts.models import User
from accounts.services import passwords
from tests.accounts.browser import Browser, sign_up_body
from tests.factories import auth_key_for

pytestmark = pytest.mark.django_db
PASSWORD = "C4nary&Bird"


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


def test_no_key_is_logged_or_answered(logged: pytest.LogCaptureFixture) -> None:
    key = auth_key_for("Canary1", PASSWORD)
    browser = Browser()

    answers = [
        browser.post("/api/sign-up/", sign_up_body("Canary1", auth_key=key)),
        Browser().post("/api/sign-up/", sign_up_body("Canary1", auth_key=key)),
        Browser().log_in("Canary1", PASSWORD),
        Browser().log_in("Canary1", auth_key=key + "A"),
        browser.get("/api/keys/"),
    ]

    assert [answer.status_code for answer in answers] == [201, 409, 200, 400, 200]
    parts = (key, key[4:24], PASSWORD)
    assert not any(part in answer.content.decode() for part in parts for answer in answers)
    assert not any(part in logged.text for part in parts)


@pytest.mark.parametrize("body", [f'{{"password": "{PASSWORD}"', f'"{PASSWORD}"', f'{{"{PASSWORD}": 1}}'])
def test_a_password_that_strayed_into_a_request_is_neither_logged_nor_echoed(
    logged: pytest.LogCaptureFixture, body: str
) -> None:
    for path in ("/api/log-in/", "/api/sign-up/", "/api/password/", "/api/recovery/begin/"):
        response = Client().post(path, body, content_type="application/json")

        assert response.status_code == 400
        assert PASSWORD not in response.content.decode()
    assert PASSWORD not in logged.text


def test_a_crash_report_hides_the_key(alice: User, monkeypatch: pytest.MonkeyPatch, rf: Any) -> None:
    """What Django would show or mail with DEBUG, or to ADMINS."""
    key = auth_key_for("Alice1")

    def crash(**_: Any) -> User:
        raise RuntimeError("broken")

    monkeypatch.setattr(passwords, "prove", crash)
    body = f'{{"username": "Alice1", "auth_key": "{key}", "new_auth_key": null}}'
    request = rf.post("/api/log-in/", body, content_type="application/json")
    try:
        api.log_in(request)
    except RuntimeError:
        traceback = sys.exc_info()[2]
    report = get_exception_reporter_filter(request)
    assert isinstance(report, SafeExceptionReporterFilter)
    seen: list[object] = []
    while traceback is not None:
        frame = traceback.tb_frame
        if "accounts/a" in frame.f_code.co_filename or "accounts/j" in frame.f_code.co_filename:
            seen += report.get_traceback_frame_variables(request, frame)
        traceback = traceback.tb_next
    assert seen
    assert key not in repr(seen)
