"""What every page has in common, and the pages that belong to no app."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils.timezone import now
from pytest_django import DjangoAssertNumQueries
from pytest_django.fixtures import Settings

from accounts.models import RecoveryCode, User
from friends.models import Friendship
from friends.services import request_friendship
from securechat import assets, certificates, views
from securechat.templatetags.look import avatar_hue, initials

ClientOf = Callable[[User], Client]

POLICY = {
    "default-src 'none'",
    f"script-src 'self' {assets.import_map_source()}",
    "style-src 'self'",
    "img-src 'self'",
    "font-src 'self'",
    "connect-src 'self'",
    "worker-src 'self'",
    "manifest-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types lit-html securechat-worker",
}
STRANGER_PAGES = [
    "start",
    "sign-up",
    "log-in",
    "recover",
    "trust",
    "about",
    "what-the-server-sees",
    "admin:login",
]
SIGNED_IN_PAGES = [
    "start",
    "settings",
    "own-data",
    "log-out",
    "friend-list",
    "friend-add",
    "friend-requests",
    "chat",
    "trust",
    "about",
    "what-the-server-sees",
]
OPEN_PAGES = ("start", "trust", "about", "what-the-server-sees", "log-out")
TEMPLATES = sorted((settings.BASE_DIR / "templates").rglob("*.html"))
THEME_FILES = Path(settings.BASE_DIR / "client" / "src" / "styles")


class Markup(HTMLParser):
    """Collects what a strict policy would refuse, and what a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.refused: list[str] = []
        self.without_integrity: list[str] = []
        self.ids: list[str] = []
        self.headings = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        handlers = [name for name in given if name.startswith("on")]
        # The import map is let through by its hash, which is in the policy.
        is_data = given.get("type") in ("application/json", "importmap")
        is_loaded = (tag == "script" and "src" in given) or given.get("rel") == "stylesheet"
        if is_loaded and not _is_built(given):
            self.without_integrity.append(self.get_starttag_text() or tag)
        if (
            tag == "style"
            or "style" in given
            or handlers
            or (tag == "script" and "src" not in given and not is_data)
        ):
            self.refused.append(self.get_starttag_text() or tag)
        if given.get("id"):
            self.ids.append(given["id"] or "")
        self.headings += tag == "h1"


def _is_built(given: dict[str, str | None]) -> bool:
    """Whether a script's or a style's tag names a file of the build together with its hash."""
    address = given.get("src") or given.get("href") or ""
    file = assets.running_build().files.get(address.removeprefix(settings.STATIC_URL))
    return file is not None and given.get("integrity") == file.integrity


@pytest.fixture
def stranger() -> Client:
    return Client()


@pytest.fixture
def with_root(settings: Settings, tmp_path: Path) -> str:
    """This server has certificates of its own making; the root's fingerprint."""
    settings.CERTS_DIR = tmp_path
    certificates.init()
    fingerprint = certificates.root_fingerprint()
    assert fingerprint is not None
    return fingerprint


# Every page


@pytest.mark.django_db
@pytest.mark.parametrize("name", STRANGER_PAGES)
def test_a_stranger_can_open_what_is_for_strangers(stranger: Client, name: str) -> None:
    response = stranger.get(reverse(name))

    markup = Markup(response.content.decode())
    assert response.status_code == 200
    assert markup.refused == []
    assert markup.without_integrity == []
    assert markup.headings >= 1
    assert len(markup.ids) == len(set(markup.ids))


@pytest.mark.parametrize("name", SIGNED_IN_PAGES)
def test_a_person_can_open_every_page(alice: User, client_of: ClientOf, name: str) -> None:
    response = client_of(alice).get(reverse(name))

    markup = Markup(response.content.decode())
    assert response.status_code == 200
    assert markup.refused == []
    assert markup.without_integrity == []
    assert len(markup.ids) == len(set(markup.ids))
    assert "Alice1" in response.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("name", [name for name in SIGNED_IN_PAGES if name not in OPEN_PAGES])
def test_a_stranger_is_sent_to_the_log_in(stranger: Client, name: str) -> None:
    response = stranger.get(reverse(name))

    assert response.status_code == 302
    assert response.headers["Location"] == f"{reverse('log-in')}?next={reverse(name)}"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(settings.BASE_DIR)))
def test_no_template_has_inline_script_or_style(path: Path) -> None:
    assert Markup(path.read_text()).refused == []


@pytest.mark.parametrize(
    "markup", ["<p style='color:red'>", "<script>x</script>", "<style>", "<a onclick='x'>"]
)
def test_the_scan_notices_what_the_policy_refuses(markup: str) -> None:
    assert Markup(markup).refused != []


@pytest.mark.parametrize(
    "markup",
    [
        '<script type="module" src="/static/securechat/site.js"></script>',
        '<script type="module" src="/static/securechat/site.js" integrity="sha384-AAAA"></script>',
        '<script src="/static/admin/js/core.js" integrity="sha384-AAAA"></script>',
        '<link rel="stylesheet" href="/static/securechat/site.css">',
    ],
)
def test_the_scan_notices_a_script_without_its_hash(markup: str) -> None:
    assert Markup(markup).without_integrity != []


@pytest.mark.django_db
def test_the_page_has_the_import_map_that_its_policy_names(stranger: Client) -> None:
    page = stranger.get("/").content.decode()

    written = re.findall(r'<script type="importmap">(.*?)</script>', page)
    digest = base64.b64encode(hashlib.sha256(written[0].encode()).digest()).decode()
    assert len(written) == 1
    assert f"'sha256-{digest}'" in stranger.get("/").headers["Content-Security-Policy"]
    assert page.index("importmap") < page.index('type="module"')


def test_the_admin_loads_our_style_with_its_hash_and_keeps_its_own_scripts(
    alice: User, client_of: ClientOf
) -> None:
    User.objects.filter(pk=alice.pk).update(is_staff=True, is_superuser=True)
    alice.refresh_from_db()

    response = client_of(alice).get(reverse("admin:index"))

    style = re.findall(
        r'<link rel="stylesheet" href="/static/securechat/admin.css" integrity="([^"]*)">',
        response.content.decode(),
    )
    assert style == [assets.integrity_of("securechat/admin.css")]
    assert "trusted-types" not in response.headers["Content-Security-Policy"]
    assert "Integrity-Policy" not in response.headers


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/", "/trust/", "/no-such-page/", f"/{settings.ADMIN_PATH}/login/"])
def test_every_answer_has_the_whole_policy(stranger: Client, path: str) -> None:
    response = stranger.get(path)

    policy = response.headers["Content-Security-Policy"]
    assert {directive.strip() for directive in policy.split(";") if directive.strip()} == POLICY
    assert "no-store" in response.headers["Cache-Control"]
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert response.headers["Permissions-Policy"] == "camera=(), microphone=(), geolocation=()"


# One origin


def test_another_name_of_the_server_leads_to_the_right_one(stranger: Client, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["testserver", "localhost"]

    response = stranger.get("/trust/?from=here", headers={"host": "localhost:8443"})

    assert response.status_code == 301
    assert response.headers["Location"] == f"{settings.PUBLIC_ORIGIN}/trust/?from=here"


def test_a_form_sent_to_another_name_is_refused_and_not_repeated(
    stranger: Client, settings: Settings
) -> None:
    settings.ALLOWED_HOSTS = ["testserver", "localhost"]

    response = stranger.post("/log-out/", headers={"host": "localhost:8443"})

    assert response.status_code == 421
    assert settings.PUBLIC_ORIGIN in response.content.decode()


# Start


@pytest.mark.django_db
def test_a_stranger_reads_what_this_is_and_can_sign_up(stranger: Client) -> None:
    page = stranger.get("/").content.decode()

    assert "can never read it" in page
    assert reverse("sign-up") in page
    assert reverse("log-in") in page
    assert "What the server cannot see" in page


def test_the_start_page_has_exactly_three_doors(alice: User, client_of: ClientOf) -> None:
    page = client_of(alice).get("/").content.decode()

    names = [" ".join(name.split()) for name in re.findall(r'class="door-name">([^<]*)<', page)]
    addresses = re.findall(r'class="door" href="([^"]*)"', page)
    assert names == ["Add friend", "Friend list", "Friend request"]
    assert addresses == [reverse("friend-add"), reverse("friend-list"), reverse("friend-requests")]
    assert f'href="{reverse("chat")}"' in page


def test_the_bar_and_the_door_count_waiting_requests(
    alice: User, bob: User, mallory: User, client_of: ClientOf
) -> None:
    request_friendship(sender=bob, username="Alice1")
    request_friendship(sender=mallory, username="Alice1")

    page = client_of(alice).get("/").content.decode()

    assert page.count('2<span class="visually-hidden"> waiting</span>') == 2


def test_without_waiting_requests_nothing_is_counted(
    alice: User, friendship: Friendship, client_of: ClientOf
) -> None:
    page = client_of(alice).get("/").content.decode()

    assert "data-requests-badge hidden" in page
    assert page.count("badge badge-count") == 2  # The two of the bar, both hidden.


def test_the_start_page_asks_a_fixed_number_of_questions(
    alice: User, bob: User, client_of: ClientOf, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    request_friendship(sender=bob, username="Alice1")
    client = client_of(alice)

    with django_assert_max_num_queries(6):
        client.get("/")


def test_an_unchecked_recovery_code_is_pointed_out(alice: User, client_of: ClientOf) -> None:
    code, _ = RecoveryCode.objects.update_or_create(
        user=alice, defaults={"proof_hash": b"x" * 32, "confirmed": False}
    )
    client = client_of(alice)

    before = client.get("/").content.decode()
    code.confirmed = True
    code.made_at = now()
    code.save()
    after = client.get("/").content.decode()

    assert "Your recovery code is not checked yet" in before
    assert "Your recovery code is not checked yet" not in after


def test_who_has_no_recovery_code_yet_is_not_asked_for_one(alice: User, client_of: ClientOf) -> None:
    RecoveryCode.objects.filter(user=alice).delete()

    assert "recovery code" not in client_of(alice).get("/").content.decode()


def test_only_operators_see_the_way_to_the_admin(alice: User, bob: User, client_of: ClientOf) -> None:
    User.objects.filter(pk=bob.pk).update(is_staff=True)
    bob.refresh_from_db()
    link = f'href="{reverse("admin:index")}"'

    assert link not in client_of(alice).get("/").content.decode()
    assert link in client_of(bob).get("/").content.decode()


# Trust


@pytest.mark.django_db
def test_the_trust_page_shows_the_fingerprint_and_every_system(stranger: Client, with_root: str) -> None:
    page = stranger.get("/trust/").content.decode()

    assert with_root in page
    for system in ("Windows", "macOS", "iPhone", "Android", "Linux", "Firefox"):
        assert f"<summary>{system}" in page
    assert page.count("To undo it:") == 6


@pytest.mark.django_db
def test_the_root_can_be_downloaded_and_is_no_secret(stranger: Client, with_root: str) -> None:
    response = stranger.get("/trust/root.crt")

    assert response.headers["Content-Type"] == "application/x-x509-ca-cert"
    assert response.content.startswith(b"-----BEGIN CERTIFICATE-----")
    assert b"PRIVATE KEY" not in response.content


@pytest.mark.django_db
def test_with_certificates_from_elsewhere_nothing_is_needed(
    stranger: Client, with_root: str, settings: Settings
) -> None:
    settings.TLS_CERTIFICATE_FILE = "/etc/ssl/chat.pem"
    settings.TLS_KEY_FILE = "/etc/ssl/chat.key"

    page = stranger.get("/trust/").content.decode()

    assert "Nothing is needed" in page
    assert with_root not in page
    assert stranger.get("/trust/root.crt").status_code == 404


def test_the_qr_code_is_a_picture_without_inline_style(stranger: Client) -> None:
    response = stranger.get("/trust/qr.svg")

    assert response.headers["Content-Type"] == "image/svg+xml"
    assert response.content.startswith(b"<?xml")
    assert b"style=" not in response.content
    assert b"<script" not in response.content


# When something goes wrong


@pytest.mark.django_db
def test_what_is_not_there_is_said_in_words(stranger: Client) -> None:
    response = stranger.get("/no-such-page/")

    assert response.status_code == 404
    assert "There is no such page" in response.content.decode()


def test_what_is_not_allowed_is_said_in_words(rf: RequestFactory, alice: User) -> None:
    request = rf.get("/")
    request.user = alice

    response = views.forbidden(request, PermissionError())

    assert response.status_code == 403
    assert "not for your account" in response.content.decode()


def test_a_form_without_its_token_says_how_to_go_on(alice: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)

    response = client.post(reverse("log-out"), secure=True, headers={"referer": f"{settings.PUBLIC_ORIGIN}/"})

    assert response.status_code == 403
    assert "too old to send" in response.content.decode()


@pytest.mark.django_db
def test_a_script_without_its_token_gets_a_refusal_it_can_read() -> None:
    client = Client(enforce_csrf_checks=True)

    response = client.post(
        reverse("api-log-in"), secure=True, headers={"referer": f"{settings.PUBLIC_ORIGIN}/"}
    )

    assert response.status_code == 403
    assert response.json()["code"] == "csrf_failed"
    assert set(response.json()) == {"code", "message", "fields", "retry_after"}


def test_the_page_for_our_own_faults_needs_nothing_that_may_be_broken(rf: RequestFactory) -> None:
    """No ``django_db``: a query would fail this test."""
    response = views.server_error(rf.get("/"))

    page = response.content.decode()
    assert response.status_code == 500
    assert "Something broke on this server" in page
    assert "site.css" in page
    assert Markup(page).refused == []


def test_the_page_for_our_own_faults_can_do_without_static_files(
    rf: RequestFactory, settings: Settings
) -> None:
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
    }

    page = views.server_error(rf.get("/")).content.decode()

    assert "site.css" not in page
    assert "Something broke on this server" in page


# Drawing people


@pytest.mark.parametrize(("name", "hue"), [("Test01", 5), ("test01", 5), ("Alice1", 11), ("a", 1)])
def test_an_avatar_has_one_colour_however_the_name_is_written(name: str, hue: int) -> None:
    assert avatar_hue(name) == hue


def test_an_avatar_shows_two_letters() -> None:
    assert initials("test01") == "TE"


def test_every_hue_has_a_class() -> None:
    styles = (THEME_FILES / "people.css").read_text()

    assert [f".avatar-hue-{hue} " in styles for hue in range(12)] == [True] * 12
