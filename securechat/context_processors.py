"""What every template may use."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from securechat import assets


def site(request: HttpRequest) -> dict[str, Any]:
    # Not `site_name`: Django's log-in view sets that to the host.
    return {
        "product_name": "SecureChat",
        "public_origin": settings.PUBLIC_ORIGIN,
        "build_fingerprint": assets.running_build().fingerprint,
    }
