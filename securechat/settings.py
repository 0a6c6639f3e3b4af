"""Every setting of SecureChat. `.env.example` lists each variable with its unit and meaning.

One file for every place it runs: what differs comes from the environment or `.env`, and what has no safe default has none.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from securechat.middleware import add_static_headers

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
ENV_FILE = env.path("ENV_FILE", default=str(BASE_DIR / ".env"))()
environ.Env.read_env(ENV_FILE)

# Core
SECRET_KEY = env.str("SECRET_KEY")
DEBUG = env.bool("DEBUG", default=False)
PUBLIC_ORIGIN: str = env.str("PUBLIC_ORIGIN", default="https://localhost:8443").rstrip("/")
PUBLIC_HOST = urlsplit(PUBLIC_ORIGIN).hostname or "localhost"
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[PUBLIC_HOST, "localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = [PUBLIC_ORIGIN]
ADMIN_PATH: str = env.str("ADMIN_PATH", default="admin").strip("/")
ROOT_URLCONF = "securechat.urls"
ASGI_APPLICATION = "securechat.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
VAR_DIR = env.path("VAR_DIR", default=str(BASE_DIR / "var"))()

# Serving
LISTEN_ADDRESS = env.str("LISTEN_ADDRESS", default="127.0.0.1")
LISTEN_PORT = env.int("LISTEN_PORT", default=urlsplit(PUBLIC_ORIGIN).port or 443)
REDIRECT_PORT = env.int("REDIRECT_PORT", default=0)
# Who says with the PROXY protocol whose connection it passes on: addresses or networks.
TRUSTED_PROXIES: list[str] = env.list("TRUSTED_PROXIES", default=[])
MAX_BODY_BYTES = 2_097_152
HEADER_DEADLINE = timedelta(seconds=10)  # For the TLS handshake and a request's first line and headers.
BODY_DEADLINE = timedelta(
    seconds=env.int("BODY_DEADLINE_SECONDS", default=60)
)  # For a request's body, and for each 64 KiB of an answer to be read.
SEND_DEADLINE = timedelta(seconds=env.int("SEND_DEADLINE_SECONDS", default=10))  # For the same of a socket.
# Connections to one process; 0 is no limit.
MAX_CONNECTIONS = env.int("MAX_CONNECTIONS", default=10_000)
MAX_CONNECTIONS_PER_ADDRESS = env.int("MAX_CONNECTIONS_PER_ADDRESS", default=256)
SHUTDOWN_DEADLINE = timedelta(seconds=5)
HEALTH_DEADLINE = timedelta(milliseconds=2500)  # For all that /readyz looks at.
HEALTH_GIVE_UP = timedelta(seconds=30)  # How long a look that hangs keeps the next one from being made.
CERTS_DIR = env.path("CERTS_DIR", default=str(BASE_DIR / "certs"))()
TLS_CERTIFICATE_FILE = env.str("TLS_CERTIFICATE_FILE", default="")
TLS_KEY_FILE = env.str("TLS_KEY_FILE", default="")
CERTIFICATE_DAYS = env.int("CERTIFICATE_DAYS", default=90)
CERTIFICATE_RENEW_DAYS = env.int("CERTIFICATE_RENEW_DAYS", default=30)
CERTIFICATE_HOSTS: list[str] = env.list(
    "CERTIFICATE_HOSTS", default=[PUBLIC_HOST, "localhost", "127.0.0.1", "::1"]
)

# Keys of the server (securechat/sealed.py)
KEYS_FILE = env.str("KEYS_FILE", default=str(Path(CERTS_DIR) / "keys.json"))
SECURECHAT_KEYS = env.str("SECURECHAT_KEYS", default="")

# What `manage.py backup` and `restore` take where nothing else is said
BACKUP_KEY_FILE = env.str("BACKUP_KEY_FILE", default="")

INSTALLED_APPS = [
    "securechat",  # Before what installs another reactor (securechat/serving/reactor.py).
    "daphne",
    "securechat.admin_config.SecureChatAdminConfig",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "accounts",  # Before what it replaces a command of.
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "csp",
    "friends",
    "messaging",
]

MIDDLEWARE = [
    "securechat.logs.RequestIdMiddleware",
    "securechat.health.HealthMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "securechat.middleware.CanonicalOriginMiddleware",
    "securechat.content_policy.ContentPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.sign_in.SeenSessionMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "securechat.middleware.PrivacyHeadersMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "securechat.context_processors.site",
                "friends.context_processors.waiting",
                "accounts.context_processors.sanctions",
            ],
        },
    },
]

# Data
DATABASES: dict[str, dict[str, Any]] = {
    "default": env.db_url("DATABASE_URL", default=f"sqlite:///{Path(VAR_DIR) / 'securechat.sqlite3'}")
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 10,  # Seconds for another program's lock; the writer tries twice, and a browser waits 30 s for its answer.
        # The log grows to some 32 MiB before its pages go into the database: a page that many messages touch goes there once.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; "
        "PRAGMA wal_autocheckpoint=8000; PRAGMA cache_size=-8000;",
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = env.int("DATABASE_CONN_MAX_AGE_SECONDS", default=60)
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
    # A PostgreSQL whose machine or network is gone is an error after some 15 s, and not when TCP gives up; DATABASE_URL's own
    # options win.
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 5,  # seconds
        "keepalives_idle": 5,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": 15_000,  # milliseconds
    } | DATABASES["default"].get("OPTIONS", {})

# Empty: `manage.py serve` starts the Valkey that pip brings, on this private socket.
REDIS_URL = env.str("REDIS_URL", default="")
# The kernel cuts the path of a socket at 104 bytes: a deep VAR_DIR gets one of its own among the temporary files.
EMBEDDED_REDIS_SOCKET = str(Path(VAR_DIR) / "run" / "valkey.sock")
if len(os.fsencode(EMBEDDED_REDIS_SOCKET)) > 100:
    _short = hashlib.sha256(os.fsencode(EMBEDDED_REDIS_SOCKET)).hexdigest()[:16]
    EMBEDDED_REDIS_SOCKET = str(Path(tempfile.gettempdir()) / f"securechat-{_short}" / "valkey.sock")
EFFECTIVE_REDIS_URL = REDIS_URL or f"unix://{quote(EMBEDDED_REDIS_SOCKET)}"
REDIS_TIMEOUT = timedelta(milliseconds=env.int("REDIS_TIMEOUT_MILLISECONDS", default=2000))
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [{"address": EFFECTIVE_REDIS_URL, "socket_timeout": 15}], "prefix": "securechat"},
    },
}

# People and passwords
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.backends.DerivedKeyBackend"]
PASSWORD_HASHERS = ["accounts.hashers.SecureChatPasswordHasher", "accounts.hashers.LegacyPasswordHasher"]
USERNAME_MIN_LENGTH = 5
USERNAME_MAX_LENGTH = 30
PASSWORD_MIN_LENGTH = 8
PASSWORD_MAX_LENGTH = env.int("PASSWORD_MAX_LENGTH", default=20)
PASSWORD_MAX_RUN = 3
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "accounts.validators.LengthValidator"},
    {"NAME": "accounts.validators.CharacterClassesValidator"},
    {"NAME": "accounts.validators.RunsValidator"},
    {"NAME": "accounts.validators.NotTheUsernameValidator"},
    {"NAME": "accounts.validators.NotDerivedValidator"},
]
LOGIN_URL = "log-in"
LOGIN_REDIRECT_URL = "start"
LOGOUT_REDIRECT_URL = "start"
SESSION_AGE = timedelta(days=env.int("SESSION_DAYS", default=14))
SESSION_SEEN_EVERY = timedelta(minutes=10)  # How coarsely the server notes when a session was in use.

# Operators: how long a second factor counts in a session; without the demand for one their password is enough.
ADMIN_LIST_ROWS = 10_000  # That a list counts and pages; others are found by searching and filtering.
ADMIN_ACTION_ROWS = 500  # At once; the page that asks names each, in a form of at most 1,000 fields.
ADMIN_SECOND_FACTOR = env.bool("ADMIN_SECOND_FACTOR", default=True)
ADMIN_SECOND_FACTOR_AGE = timedelta(minutes=env.int("ADMIN_SECOND_FACTOR_MINUTES", default=480))
OTP_TOTP_ISSUER = f"SecureChat {PUBLIC_HOST}"  # What the authenticator app calls it.

# Rate limits: how many, in which time
LOG_IN_ATTEMPTS_PER_NAME = env.int("LOG_IN_ATTEMPTS_PER_NAME", default=10)
LOG_IN_ATTEMPTS_PER_ADDRESS = env.int("LOG_IN_ATTEMPTS_PER_ADDRESS", default=100)
LOG_IN_WINDOW = timedelta(seconds=env.int("LOG_IN_WINDOW_SECONDS", default=300))
# Who may make an account: open (everybody), invite (who has a code of `manage.py invite`), closed (nobody).
SIGN_UP = env.str("SIGN_UP", default="open")
if SIGN_UP not in ("open", "invite", "closed"):
    raise ImproperlyConfigured("SIGN_UP is open, invite or closed.")
SIGN_UPS_PER_ADDRESS_AND_HOUR = env.int("SIGN_UPS_PER_ADDRESS_AND_HOUR", default=20)
FRIEND_REQUESTS_PER_HOUR = env.int("FRIEND_REQUESTS_PER_HOUR", default=30)
FRIEND_REQUEST_PAUSE = timedelta(hours=env.int("FRIEND_REQUEST_PAUSE_HOURS", default=24))

# Messages; docs/protocol.md section 9
CHAT_OFFLINE_MESSAGES = env.bool("CHAT_OFFLINE_MESSAGES", default=True)
MAX_FRAME_BYTES = 131_072
MAX_ENVELOPE_BYTES = 65_536
MAX_MESSAGE_CHARACTERS = 10_000
MAX_EPOCH_RECORD_BYTES = 4_096
MAX_HEAD_BYTES = 512
MAX_CHAIN_ENTRY_BYTES = 2_048
MAX_CHAIN_ENTRIES = 4_000
MAX_VAULT_BYTES = 262_144
HISTORY_PAGE_ROWS = 50
ENVELOPES_PER_SECOND = env.int("ENVELOPES_PER_SECOND", default=20)
ENVELOPE_BURST = env.int("ENVELOPE_BURST", default=60)
MAX_SOCKETS_PER_USER = env.int("MAX_SOCKETS_PER_USER", default=20)
FRAMES_PER_SECOND = env.int("FRAMES_PER_SECOND", default=50)
FRAME_BURST = env.int("FRAME_BURST", default=500)
PINGS_PER_SECOND = env.int("PINGS_PER_SECOND", default=2)
PING_BURST = env.int("PING_BURST", default=50)
CONVERSATIONS_PAGE_ROWS = 50
SESSION_CHECK = timedelta(seconds=4)
SOCKET_INPUT_FRAMES = env.int("SOCKET_INPUT_FRAMES", default=64)
SOCKET_INPUT_BYTES = env.int("SOCKET_INPUT_BYTES", default=262_144)
SOCKET_QUEUE_FRAMES = env.int("SOCKET_QUEUE_FRAMES", default=512)
SOCKET_QUEUE_BYTES = env.int("SOCKET_QUEUE_BYTES", default=4_194_304)
WRITER_QUEUE_ENVELOPES = env.int("WRITER_QUEUE_ENVELOPES", default=2_000)
WRITER_BATCH_ENVELOPES = 250
HUB_QUEUE_EVENTS = env.int("HUB_QUEUE_EVENTS", default=10_000)
# While Redis is away: how often each process asks the database what others stored, and how many people it looks at then.
CATCH_UP_EVERY = timedelta(milliseconds=env.int("CATCH_UP_MILLISECONDS", default=1000))
CATCH_UP_PEOPLE = 50
# While nothing is known to be amiss: a process that died after it stored, and never came back, rang nobody.
CATCH_UP_ANYWAY = timedelta(seconds=env.int("CATCH_UP_ANYWAY_SECONDS", default=60))
CHAT_DATABASE_THREADS = env.int("CHAT_DATABASE_THREADS", default=4)
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576

# Reports; docs/protocol.md section 12
BANS_NEED_TWO = env.bool("BANS_NEED_TWO", default=False)  # A ban waits until a second operator approves it.
APPEAL_ADDRESS = env.str(
    "APPEAL_ADDRESS", default=""
)  # Where sanctioned people may write: mail address or link.
REPORTS_PER_DAY = env.int("REPORTS_PER_DAY", default=20)
MAX_REPORTED_MESSAGES = 50
MAX_REPORT_NOTE_CHARACTERS = 1_000
MAX_REPORT_EVIDENCE_BYTES = 524_288  # Of the disclosed contents of one report together.
REPORT_KEPT = timedelta(days=env.int("REPORT_KEPT_DAYS", default=365))  # After it was closed.
REFUSED_REQUEST_KEPT = timedelta(days=env.int("REFUSED_REQUEST_KEPT_DAYS", default=30))
REPORT_OVERDUE = timedelta(hours=env.int("REPORT_OVERDUE_HOURS", default=24))

# Presence; messaging/presence.py. What these add up to is in docs/architecture.md.
PRESENCE_TTL = timedelta(seconds=env.int("PRESENCE_TTL_SECONDS", default=12))
PRESENCE_RENEW = timedelta(seconds=env.int("PRESENCE_RENEW_SECONDS", default=4))
PRESENCE_SWEEP = timedelta(milliseconds=250)
PRESENCE_GRACE = timedelta(milliseconds=env.int("PRESENCE_GRACE_MILLISECONDS", default=1500))

# HTTPS, cookies, headers
SECURE_SSL_REDIRECT = False  # There is no plain port but serve's own redirecting one.
# A year, but none for localhost: browsers would then refuse every other program's http://localhost, whatever its port.
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", default=0 if PUBLIC_HOST == "localhost" else 31_536_000)
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # HSTS for names below this one is for the owner of the domain to say.
    "security.W008",  # SECURE_SSL_REDIRECT, as above.
    "security.W021",  # So is a place on the browsers' preload list.
]
SECURE_CONTENT_TYPE_NOSNIFF = True
# Not "no-referrer": a form would then be posted with "Origin: null", which is nobody of ours.
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_NAME = "__Host-securechat"
SESSION_COOKIE_SECURE = True
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = int(SESSION_AGE.total_seconds())
CSRF_COOKIE_NAME = "__Host-csrf"
CSRF_COOKIE_SECURE = True
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "securechat.views.csrf_failure"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "worker-src": ["'self'"],
        "manifest-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        # Text never becomes markup or code: but for Lit's templates, and the address of the Argon2 worker.
        "require-trusted-types-for": ["'script'"],
        "trusted-types": ["lit-html", "securechat-worker"],
    },
}

# Static files
STATIC_URL = "/static/"
STATIC_ROOT = env.path("STATIC_ROOT", default=str(BASE_DIR / "staticfiles"))()
STATICFILES_DIRS = [BASE_DIR / "client" / "dist"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "securechat.static_files.BuiltFilesStorage"},
}
WHITENOISE_ADD_HEADERS_FUNCTION = add_static_headers
# Names with a hash of the content in them: Django's, and those that the client's build gave.
WHITENOISE_IMMUTABLE_FILE_TEST = r"\.[0-9a-f]{12}\.\w+$|-[A-Z0-9]{8}\.(js|svg)$"
# Where somebody finds the fingerprints of released builds on another computer than this one; shown, never fetched.
PUBLISHED_FINGERPRINT_URL = env.str("PUBLISHED_FINGERPRINT_URL", default="")

# Language and time
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

# Watching: who may read /metrics from elsewhere than this machine, and how lines of the log look.
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
LOG_FORMAT = env.str("LOG_FORMAT", default="plain")
if LOG_FORMAT not in ("plain", "json"):
    raise ImproperlyConfigured("LOG_FORMAT is plain or json.")
LOG_REFUSALS_PER_SECOND = env.int("LOG_REFUSALS_PER_SECOND", default=20)
PULSE = timedelta(seconds=10)  # How often a process writes what it counted.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {
            "()": "securechat.logs.PlainFormatter",
            "format": "{asctime} {levelname} {name} {message}",
            "style": "{",
        },
        "json": {"()": "securechat.logs.JsonFormatter"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        "django.channels.server": {"level": "WARNING"},
        # What was refused is one line of securechat.refused, with its code and without its address.
        "django.request": {"level": "ERROR"},
        "django.security": {"level": "CRITICAL"},
    },
}
