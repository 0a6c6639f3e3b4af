"""The people of `make demo`. Anybody can read their passwords here: who still has one is nobody's own account."""

from __future__ import annotations

DEMO_PASSWORDS = {"Alice": "Wonder-1and!", "Bobby": "Builder-7Up!", "Carol": "Christmas-9!"}
