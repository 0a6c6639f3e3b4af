"""Twisted's reactor on uvloop where there is one, else on asyncio's own loop.

Whoever imports ``twisted.internet.reactor`` first decides, and Daphne does when Django loads it: so this comes before.
"""

from __future__ import annotations

import asyncio
import sys

from twisted.internet import asyncioreactor

try:
    import uvloop
except ImportError:  # No wheel for this system.
    uvloop = None  # type: ignore[assignment]

if "twisted.internet.reactor" not in sys.modules:
    asyncioreactor.install((uvloop or asyncio).new_event_loop())
