"""Django's command, which also says what a new password means for the person's messages."""

from __future__ import annotations

from getpass import getpass
from typing import Any

from django.contrib.auth.management.commands import changepassword
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction

from accounts.models import User
from accounts.services import passwords
from securechat import audit

_ATTEMPTS = 3
_KEYS_WARNING = (
    "The vault of {name} was locked with the old password. It opens with the recovery code only from now on: "
    "tell them to choose “Forgot your password?” at the log-in and to type their code there. When they log in "
    "with the new password they are asked for the code, too, or they can start fresh, without their messages."
)


class Command(changepassword.Command):
    help = "Change somebody's password. Their sessions end, and their messages then need the recovery code."

    def handle(self, *args: Any, **options: Any) -> str:
        user = self._user(options["username"], options["database"])
        self.stdout.write(f"Changing the password of {user}")
        password = self._new_password(user)
        with transaction.atomic():
            has_keys = passwords.set_plain_password(user=user, password=password)
            audit.record(
                "user.change_password", by=None, on=f"user:{user.pk}", source="command:changepassword"
            )
        if has_keys:
            self.stderr.write(self.style.WARNING(_KEYS_WARNING.format(name=user)))
        return f"The password of {user} was changed, and every session of theirs ended."

    def _user(self, username: str, database: str) -> User:
        try:
            return User.objects.db_manager(database).get_by_natural_key(username)
        except User.DoesNotExist:
            raise CommandError("There is nobody of that name.") from None

    def _new_password(self, user: User) -> str:
        for _ in range(_ATTEMPTS):
            password = self._ask("Password: ")
            if password != self._ask("Password (again): "):
                self.stderr.write("The two are not the same. Please try again.")
                continue
            try:
                validate_password(password, user)
            except ValidationError as broken:
                self.stderr.write("\n".join(broken.messages))
            else:
                return password
        raise CommandError(f"Gave up after {_ATTEMPTS} attempts. The password stays as it was.")

    def _ask(self, prompt: str) -> str:
        password = getpass(prompt)
        if not password:
            raise CommandError("No password was given. The old one stays.")
        return password
