"""Settings of a server that takes less than its pages believe: what they send is refused for good, or closes the socket."""

from __future__ import annotations

from securechat.settings import *  # noqa: F403 - a settings file imports settings

MAX_ENVELOPE_BYTES = 8_192
MAX_FRAME_BYTES = 32_768
