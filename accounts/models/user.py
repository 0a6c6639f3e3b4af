"""A person: a name, and a hash of what their browser derived from a password."""

from __future__ import annotations

import secrets
from functools import cache
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.contrib.auth.hashers import get_hasher, identify_hasher, make_password
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.exceptions import ValidationError
from django.db import connection, models, transaction
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.crypto import salted_hmac

from accounts.hashers import LegacyPasswordHasher, SecureChatPasswordHasher
from accounts.names import fold, is_valid
from accounts.stretching import client_salt_for
from accounts.validators import validate_username
from accounts.wire import AUTH_KEY_BYTES, AUTH_KEY_PREFIX, encode_base64url, is_auth_key
from securechat import audit

if TYPE_CHECKING:
    from django_stubs_ext.db.models import TypedModelMeta
else:
    TypedModelMeta = object


def new_session_stamp() -> str:
    return secrets.token_urlsafe(16)


def spend_a_check() -> None:
    """The work of ``check_auth_key``, for where there is nobody to check: the answer takes as long."""
    get_hasher().verify(_nobodys_key(), _nobodys_hash())


@cache
def _nobodys_key() -> str:
    return AUTH_KEY_PREFIX + encode_base64url(secrets.token_bytes(AUTH_KEY_BYTES))


@cache
def _nobodys_hash() -> str:
    return make_password(_nobodys_key())


class UserManager(BaseUserManager["User"]):
    def create_user(self, username: str, password: str | None = None, **fields: Any) -> User:
        """``password`` is a plain one. Without it nobody can log in until there is one."""
        fields.setdefault("is_staff", False)
        fields.setdefault("is_superuser", False)
        validate_username(username)
        user = self.model(username=username, client_salt=client_salt_for(username), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, username: str, password: str | None = None, **fields: Any) -> User:
        """As `manage.py createsuperuser` calls it."""
        with transaction.atomic(using=self._db):
            user = self.create_user(username, password, **{**fields, "is_staff": True, "is_superuser": True})
            audit.record(
                "user.make_superuser",
                by=None,
                on=f"user:{user.pk}",
                source="command:createsuperuser",
                after={"username": user.username, "is_staff": True, "is_superuser": True},
            )
        return user

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(folded_name=fold(username or ""))

    def named_from(self, prefix: str) -> models.QuerySet[User]:
        """Whose name begins so, whatever the case; found by an index."""
        beginning = fold(prefix)
        found = self.filter(folded_name__startswith=beginning)
        if connection.vendor == "sqlite":  # Its LIKE uses no index; it sorts names by their bytes.
            return found.filter(folded_name__gte=beginning, folded_name__lt=f"{beginning}\U0010ffff")
        return found

    def by_name(self, name: str) -> User | None:
        """The active person of that name, whatever the case; none for a name that nobody can have."""
        return self.filter(folded_name=fold(name), is_active=True).first() if is_valid(name) else None


class User(AbstractBaseUser, PermissionsMixin):
    """``username`` is as typed, ``folded_name`` what is compared and signed; neither ever changes."""

    username = models.CharField(
        "username",
        max_length=30,
        unique=True,
        validators=[validate_username],
        error_messages={"unique": "This username is already taken."},
    )
    folded_name = models.GeneratedField(
        expression=Lower("username"),
        output_field=models.CharField(max_length=30),
        db_persist=True,
        unique=True,
    )
    client_salt = models.BinaryField(max_length=32, editable=False)
    legacy_salt = models.CharField(max_length=200, blank=True, default="", editable=False)
    session_stamp = models.CharField(max_length=32, default=new_session_stamp, editable=False)
    is_staff = models.BooleanField("staff", default=False, help_text="May open the admin.")
    is_active = models.BooleanField(
        "active", default=True, help_text="Who is not active cannot log in, and sessions end at once."
    )
    date_joined = models.DateTimeField(default=timezone.now, editable=False)
    deleted_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="The account is gone; its name and public keys are left for friends who keep their history.",
    )

    objects = UserManager()

    USERNAME_FIELD = "username"
    REQUIRED_FIELDS = []

    class Meta(TypedModelMeta):
        verbose_name = "person"
        verbose_name_plural = "people"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(deleted_at=None)
                | models.Q(is_active=False, is_staff=False, is_superuser=False),
                name="user_deleted_can_do_nothing",
            ),
        ]
        indexes = [models.Index(fields=["-date_joined", "-id"], name="user_by_joining")]
        permissions = [
            ("deactivate_user", "Can deactivate people and let them in again"),
            ("sign_out_user", "Can sign people out everywhere"),
            ("reset_second_factor", "Can reset the second factor of operators"),
        ]

    def __str__(self) -> str:
        return self.username

    def clean(self) -> None:
        """A new name is free when nobody has it in any case."""
        others = User.objects.filter(folded_name=fold(self.username)).exclude(pk=self.pk)
        if others.exists():
            raise ValidationError({"username": "This username is already taken."})

    @property
    def is_deleted(self) -> bool:
        return self.deleted_at is not None

    @property
    def is_legacy(self) -> bool:
        """Imported from the first version, and not logged in since."""
        return self.password.startswith(f"{LegacyPasswordHasher.algorithm}$")

    def set_password(self, raw_password: str | None) -> None:
        """The plain door, for `manage.py` and tests: derives as the browser does. Ends this person's sessions.

        Raises ``ValidationError`` for a password that looks derived, as it would be taken for the other door's.
        """
        if raw_password is None:
            self.set_unusable_password()
        elif raw_password.startswith(AUTH_KEY_PREFIX):
            raise ValidationError(f"A password cannot begin with {AUTH_KEY_PREFIX}", code="looks_derived")
        else:
            self.set_auth_key(self._derive(raw_password))

    def set_auth_key(self, auth_key: str) -> None:
        """The browser's door. Ends this person's sessions; save and ring ``SessionsChanged`` after it."""
        self.password = make_password(auth_key)
        self.legacy_salt = ""
        self.session_stamp = new_session_stamp()

    def check_password(self, raw_password: str | None) -> bool:
        """Either door: a plain password is derived first. Hashes again under the newest pepper when it is right."""
        if raw_password is None:
            return False
        auth_key = raw_password if is_auth_key(raw_password) else self._derive(raw_password)
        return self.check_auth_key(auth_key)

    def check_auth_key(self, auth_key: str) -> bool:
        if not self.has_usable_password():
            spend_a_check()
            return False
        hasher = identify_hasher(self.password)
        is_right = hasher.verify(auth_key, self.password)
        if is_right and hasher.must_update(self.password):
            self._hash_again(auth_key)
        return is_right

    async def acheck_password(self, raw_password: str | None) -> bool:
        return await sync_to_async(self.check_password)(raw_password)

    def get_session_auth_hash(self) -> str:
        """Follows the stamp and not the password's hash: a new pepper signs nobody out."""
        return salted_hmac("accounts.User.session_stamp", self.session_stamp, algorithm="sha256").hexdigest()

    def get_session_auth_fallback_hash(self) -> Any:
        """Sessions of an older ``SECRET_KEY`` hold no longer."""
        return iter(())

    def _hash_again(self, auth_key: str) -> None:
        before, self.password = self.password, make_password(auth_key)
        User.objects.filter(pk=self.pk, password=before).update(password=self.password)

    def _derive(self, plain: str) -> str:
        hasher = get_hasher()
        assert isinstance(hasher, SecureChatPasswordHasher)
        if not self.client_salt:
            self.client_salt = client_salt_for(self.username)
        return hasher.derive(name=self.username, password=plain, client_salt=bytes(self.client_salt))
