"""The only way a template of ours loads a script or a style: with the hash of what the build made."""

from __future__ import annotations

from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from securechat import assets

register = template.Library()


@register.filter
def grouped(fingerprint: str) -> str:
    """``3f9a 71c2 …``: the whole, as people read it out."""
    return " ".join(fingerprint[at : at + 4] for at in range(0, len(fingerprint), 4))


@register.simple_tag
def script(name: str, blocking: str = "") -> SafeString:
    """A module of the build: ``{% script "chat" %}``. ``blocking="render"`` runs it before anything is drawn."""
    path = f"securechat/{name}.js"
    wait = format_html(' blocking="{}"', blocking) if blocking else ""
    return format_html(
        '<script type="module" src="{}" integrity="{}"{}></script>',
        static(path),
        assets.integrity_of(path),
        wait,
    )


@register.simple_tag
def style(name: str) -> SafeString:
    path = f"securechat/{name}.css"
    return format_html(
        '<link rel="stylesheet" href="{}" integrity="{}">', static(path), assets.integrity_of(path)
    )


@register.simple_tag
def import_map() -> SafeString:
    """Before every script: afterwards a browser takes none. Only addresses and hashes are in it, no ``<``."""
    return mark_safe(f'<script type="importmap">{assets.import_map()}</script>')  # noqa: S308
