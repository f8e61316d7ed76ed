"""Job ids: UUIDv7, made by the client, so known before commit and safe to resend."""

from __future__ import annotations

import os
import time
from uuid import UUID

_VERSION = 0x7 << 76
_VARIANT = 0b10 << 62
_RANDOM_BITS = (1 << 62) - 1


def uuid7() -> UUID:
    """A UUIDv7 whose twelve bits after the milliseconds count its fractions.

    Roughly ordered by time: good for the primary key's locality and for paging, never a
    watermark, since clocks differ and transactions commit late. It asks the system for
    randomness each time and keeps no state, so forked processes never repeat one another.
    """
    return _build(time.time_ns(), os.urandom(8))


def uuid7s(count: int) -> list[UUID]:
    """`count` ids in ascending order, with one call for randomness."""
    start, noise = time.time_ns(), os.urandom(8 * count)
    # 245 ns is one step of the twelve fraction bits: each id gets a step of its own.
    return [_build(start + 245 * i, noise[8 * i : 8 * i + 8]) for i in range(count)]


def _build(nanoseconds: int, noise: bytes) -> UUID:
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    fraction = (rest << 12) // 1_000_000
    random = int.from_bytes(noise) & _RANDOM_BITS
    return UUID(int=milliseconds << 80 | _VERSION | fraction << 64 | _VARIANT | random)
