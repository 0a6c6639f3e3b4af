"""WebSocket's frames in the form that browsers and this server use for every message: final, whole, text (RFC 6455 section 5.2).

Anything else (pieces, pings, what breaks a rule) is left to autobahn's parser, which takes several times as long.
"""

from __future__ import annotations

try:
    from websockets.speedups import apply_mask
except ImportError:  # No compiler built it for this system.
    from websockets.utils import apply_mask

_FINAL_TEXT, _MASKED = 0x81, 0x80
_LENGTH_IN_2_BYTES = 126
_LARGEST_IN_2_BYTES = 65_535
_MASK_BYTES = 4


def take_text(data: bytes, start: int, limit: int) -> tuple[bytes, int] | None:
    """What the text frame that begins at ``start`` holds, whether it is UTF-8 or not, and where the next one begins.

    ``None`` where it is not a whole, final, masked text frame of at most ``limit`` bytes in its shortest form.
    """
    available = len(data) - start
    if available < 2 + _MASK_BYTES or data[start] != _FINAL_TEXT or not data[start + 1] & _MASKED:
        return None
    length = data[start + 1] & ~_MASKED
    mask_at = start + 2
    if length == _LENGTH_IN_2_BYTES:
        length = int.from_bytes(data[mask_at : mask_at + 2], "big")
        mask_at += 2
        if length < _LENGTH_IN_2_BYTES:
            return None
    elif length > _LENGTH_IN_2_BYTES:
        return None
    begin = mask_at + _MASK_BYTES
    end = begin + length
    if end > len(data) or length > limit:
        return None
    return apply_mask(data[begin:end], data[mask_at:begin]), end


def text_frame(payload: bytes) -> bytes:
    """A whole frame from the server."""
    length = len(payload)
    if length < _LENGTH_IN_2_BYTES:
        head = bytes((_FINAL_TEXT, length))
    elif length <= _LARGEST_IN_2_BYTES:
        head = bytes((_FINAL_TEXT, 126, length >> 8, length & 255))
    else:
        head = b"\x81\x7f" + length.to_bytes(8, "big")
    return head + payload
