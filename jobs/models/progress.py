"""How far a running job says it has come."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """`total` is None when the task does not know it."""

    done: float
    total: float | None = None
    message: str = ""

    @property
    def percent(self) -> float | None:
        """0 to 100, or None when there is no total."""
        if not self.total:
            return None
        return max(0.0, min(100.0, 100.0 * self.done / self.total))

    def __str__(self) -> str:
        count = f"{self.done:g}" if self.total is None else f"{self.done:g} of {self.total:g}"
        return f"{count} {self.message}".rstrip()
