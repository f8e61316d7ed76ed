"""Processes that a measurement starts: their children, and the memory of all of them."""

from __future__ import annotations

from pathlib import Path


def family(pid: int) -> list[int]:
    """The process and everything below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            children = (task / "children").read_text().split()
        except OSError:
            continue
        for child in children:
            found += family(int(child))
    return found


def pss(pid: int) -> float:
    """Megabytes of the process and everything below it; shared pages are counted once."""
    total = 0
    for one in family(pid):
        try:
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in rollup.splitlines() if line[:4] == "Pss:")
    return total / 1000


def files(pid: int) -> int:
    """Open file descriptors of the process and everything below it."""
    total = 0
    for one in family(pid):
        try:
            total += len(list(Path(f"/proc/{one}/fd").iterdir()))
        except OSError:
            continue
    return total
