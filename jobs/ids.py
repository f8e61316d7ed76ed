"""Job ids: UUIDv7, made by the client, so known before commit and safe to resend."""

from __future__ import annotations

import os
import struct
import time
from datetime import UTC, datetime, timedelta
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
    return uuid7s(1)[0]


def first_of(ago: timedelta) -> UUID:
    """Before every id that was made since so long ago, by this machine's clock."""
    return first_at(datetime.fromtimestamp(max(0.0, time.time() - ago.total_seconds()), UTC))


def first_at(moment: datetime) -> UUID:
    """Before every id that was made at that moment, or later."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


def moment_of(id_: UUID) -> datetime:
    """When it was made, to the millisecond, by the clock of whoever made it."""
    return datetime.fromtimestamp((id_.int >> 80) / 1000, UTC)


def uuid7s(count: int) -> list[UUID]:
    """`count` ids in ascending order, with one call for randomness."""
    start = time.time_ns()
    noise = struct.unpack(f"!{count}Q", os.urandom(8 * count))
    # 245 ns is one step of the twelve fraction bits: each id gets a step of its own.
    moments = range(start, start + 245 * count, 245)
    return [
        UUID(
            int=moment // 1_000_000 << 80
            | _VERSION
            | ((moment % 1_000_000 << 12) // 1_000_000) << 64
            | _VARIANT
            | random & _RANDOM_BITS
        )
        for moment, random in zip(moments, noise, strict=True)
    ]
