"""Objects that are nearly right: bytes turned, cut and doubled, and the items inside CBOR replaced by their neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import cbor2

_TELLING_BYTES = bytes.fromhex(
    "00 01 17 18 19 1a 1b 1f 20 40 5f 60 7f 80 9f a0 bf c0 c2 f4 f5 f6 f7 f9 fb ff"
)
_TELLING_NUMBERS = (
    0,
    1,
    2,
    23,
    24,
    255,
    256,
    2**16,
    2**32 - 1,
    2**32,
    2**53 - 1,
    2**53,
    2**64 - 1,
    -1,
    -(2**53),
)
_OTHER_ITEMS: tuple[Any, ...] = (
    None,
    True,
    False,
    0.0,
    1.5,
    float("nan"),
    "",
    "\0",
    "genesis",
    b"",
    [],
    {},
    [[]],
)


def mutant(random: Random, originals: Sequence[bytes]) -> bytes:
    """One of ``originals``, changed one to three times in ways that get past a decoder's first look."""
    changed = random.choice(originals)
    for _ in range(random.randint(1, 3)):
        changed = random.choice(_WAYS)(random, changed, originals)
    return changed


def _turn_a_bit(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    if not raw:
        return b"\x80"
    place = random.randrange(len(raw))
    return raw[:place] + bytes([raw[place] ^ 1 << random.randrange(8)]) + raw[place + 1 :]


def _write_a_byte(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    place = random.randrange(len(raw) + 1)
    return raw[:place] + bytes([random.choice(_TELLING_BYTES)]) + raw[place + 1 :]


def _cut(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    start, end = sorted((random.randrange(len(raw) + 1), random.randrange(len(raw) + 1)))
    return raw[:start] + raw[end:]


def _double(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    start = random.randrange(len(raw) + 1)
    return raw[:start] + raw[start : start + 40] + raw[start:]


def _join(random: Random, raw: bytes, originals: Sequence[bytes]) -> bytes:
    other = random.choice(originals)
    return raw[: random.randrange(len(raw) + 1)] + other[random.randrange(len(other) + 1) :]


def _replace_an_item(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    """Stays deterministic CBOR, so that only a check of the item itself can find it."""
    try:
        return cbor2.dumps(_with_another_item(random, cbor2.loads(raw)), canonical=True)
    except (cbor2.CBORError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError):
        return raw + b"\0"


_WAYS: tuple[Callable[[Random, bytes, Sequence[bytes]], bytes], ...] = (
    _turn_a_bit,
    _write_a_byte,
    _cut,
    _double,
    _join,
    _replace_an_item,
    _replace_an_item,
    _replace_an_item,
)


def _with_another_item(random: Random, item: Any) -> Any:
    if isinstance(item, list) and item and random.random() < 0.9:
        return _with_another_place(random, item)
    if isinstance(item, bytes) and item and random.random() < 0.7:
        return _other_bytes(random, item)
    if isinstance(item, int):
        return random.choice((item + 1, item - 1, random.choice(_TELLING_NUMBERS)))
    if isinstance(item, str) and random.random() < 0.5:
        return random.choice((item + "\u202e", item.upper(), item.encode(), item[:-1]))
    return random.choice(_OTHER_ITEMS)


def _with_another_place(random: Random, items: list[Any]) -> list[Any]:
    place = random.randrange(len(items))
    return random.choice(
        (
            [*items[:place], _with_another_item(random, items[place]), *items[place + 1 :]],
            [*items[:place], _with_another_item(random, items[place]), *items[place + 1 :]],
            [*items[:place], *items[place + 1 :]],
            [*items, items[place]],
            [*items[place:], *items[:place]],
        )
    )


def _other_bytes(random: Random, raw: bytes) -> bytes:
    """What stands inside a byte string is CBOR itself, where it is a body."""
    if random.random() < 0.6:
        inner = _replace_an_item(random, raw, ())
        if inner != raw + b"\0":
            return inner
    return random.choice((raw[:-1], raw + b"\0", raw[::-1], bytes(len(raw)), random.randbytes(len(raw))))
