"""What templates need to draw a person: the colour and the letters of an avatar.

``client/src/ui`` computes the same two, so that a person looks the same on every page.
"""

from __future__ import annotations

from django import template

AVATAR_HUES = 12

register = template.Library()


@register.filter
def avatar_hue(name: str) -> int:
    """The number of an ``avatar-hue-`` class, 0 to 11. Case does not matter: names are compared without it."""
    return sum(ord(character) * place for place, character in enumerate(name.lower(), start=1)) % AVATAR_HUES


@register.filter
def initials(name: str) -> str:
    return name[:2].upper()
