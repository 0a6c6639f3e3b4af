"""Who logs in: the browser's door, for the site and for the admin alike."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from accounts.errors import WrongCredentials
from accounts.models import User
from accounts.services import passwords


class DerivedKeyBackend(ModelBackend):
    """Accepts ``ak1:`` keys alone. A plain password is wrong here even where it is right for `manage.py`."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any
    ) -> User | None:
        if username is None or password is None:
            return None
        try:
            return passwords.prove(username=username, auth_key=password)
        except WrongCredentials:
            return None

    async def aauthenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any
    ) -> User | None:
        return await sync_to_async(self.authenticate)(request, username=username, password=password)
