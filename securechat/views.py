"""The pages that belong to no app: start, trust, and what is shown when something goes wrong."""

from __future__ import annotations

import io
from pathlib import Path

import segno
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ObjectDoesNotExist
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from accounts.models import User
from securechat import assets, builds, certificates, server_view
from securechat.templatetags.build import style


@require_safe
def start(request: HttpRequest) -> HttpResponse:
    if isinstance(request.user, AnonymousUser):
        return render(request, "landing.html")
    return render(request, "start.html", {"recovery_confirmed": _recovery_confirmed(request.user)})


def _recovery_confirmed(user: User) -> bool | None:
    """None where there is no code yet: keys, and the code with them, are made at the first log-in in a browser."""
    try:
        return user.recovery_code.confirmed
    except ObjectDoesNotExist:
        return None


@require_safe
def trust(request: HttpRequest) -> HttpResponse:
    return render(request, "trust.html", {"fingerprint": certificates.root_fingerprint()})


@require_safe
def trust_qr(request: HttpRequest) -> HttpResponse:
    """A picture of the address of the trust page, to open it on a telephone; black on white in both themes."""
    picture = io.BytesIO()
    code = segno.make(f"{settings.PUBLIC_ORIGIN}/trust/", micro=False, error="m")
    code.save(picture, kind="svg", border=2, dark="#000", light="#fff", omitsize=True, nl=False)
    return HttpResponse(picture.getvalue(), content_type="image/svg+xml")


@require_safe
def root_certificate(request: HttpRequest) -> HttpResponse:
    """The root in PEM. Public: it says whom to trust, and its key never leaves ``CERTS_DIR``."""
    path = Path(settings.CERTS_DIR) / "root.crt"
    if certificates.root_fingerprint() is None:
        raise Http404
    response = HttpResponse(path.read_bytes(), content_type="application/x-x509-ca-cert")
    response["Content-Disposition"] = 'inline; filename="securechat-root.crt"'
    return response


@require_safe
def about(request: HttpRequest) -> HttpResponse:
    """The page's script computes the fingerprint from the files that the browser has; the rest is what we say it is."""
    build = assets.running_build()
    published = builds.published_fingerprint(build.version)
    page_data = {
        "manifest": assets.address_of(assets.MANIFEST),
        "files": {path: assets.address_of(path) for path in build.files},
        "published": published,
    }
    context = {
        "build": build,
        "published": published,
        "published_url": settings.PUBLISHED_FINGERPRINT_URL,
        "page_data": page_data,
    }
    return render(request, "about.html", context)


@require_safe
def what_the_server_sees(request: HttpRequest) -> HttpResponse:
    context = {
        "seen": server_view.SEEN,
        "unseen": server_view.UNSEEN,
        "less_seen": server_view.LESS_SEEN,
        "noticed": server_view.NOTICED,
        "tables": server_view.TABLES,
        "columns_test": server_view.COLUMNS_TEST,
    }
    return render(request, "what_the_server_sees.html", context)


@require_safe
def running_build(request: HttpRequest) -> JsonResponse:
    """What an open page asks to notice that it is an old one."""
    build = assets.running_build()
    return JsonResponse({"version": build.version, "fingerprint": build.fingerprint})


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "404.html", status=404)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "403.html", status=403)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A page for people; for the browser's JSON requests the refusal it knows how to read."""
    if request.path.startswith("/api/"):
        refusal = {"code": "csrf_failed", "message": "This page is too old. Reload it.", "fields": {}}
        return JsonResponse({**refusal, "retry_after": None}, status=403)
    return render(request, "403_csrf.html", status=403)


def server_error(request: HttpRequest) -> HttpResponse:
    """Without request, user and database, each of which may be what broke."""
    return HttpResponse(render_to_string("500.html", {"style": _style()}), status=500)


def _style() -> str | None:
    try:
        return style("site")
    except (ValueError, assets.BuildMissing):
        return None  # collectstatic has not run, which may be what broke too.
