"""How long things took, as counts in buckets that grow by half an octave: any duration from a
microsecond to months, to within a fifth, in a list that adds up.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import frexp, sqrt

# Ten years.
BUCKETS = 98


def bucket(seconds: float) -> int:
    """The place of a duration: it is the exponent of the square of its microseconds."""
    microseconds = seconds * 1e6
    return min(frexp(microseconds * microseconds + 1.0)[1], BUCKETS - 1)


def upper(place: int) -> float:
    """The longest duration of a bucket, in seconds."""
    return sqrt(2.0**place) / 1e6


def quantile(counts: Sequence[int], share: float) -> float | None:
    """The duration that so large a share was no longer than, in seconds; None: nothing counted.

    Within its bucket it is guessed as if all were spread evenly.
    """
    total = sum(counts)
    if not total:
        return None
    wanted = share * total
    for place, count in enumerate(counts):
        if count and wanted <= count:
            low = upper(place - 1) if place > 1 else 0.0
            return low + (upper(place) - low) * wanted / count
        wanted -= count
    return upper(len(counts) - 1)


def trimmed(counts: Sequence[int]) -> list[int]:
    """Without the empty buckets at the end."""
    last = len(counts)
    while last and not counts[last - 1]:
        last -= 1
    return list(counts[:last])
