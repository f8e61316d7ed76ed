"""Every IANA zone, every clock change from 2000 to 2037, every line of the oracle.

    python -m tests.oracle

Takes some minutes. Ends with exit code 1 and the differences, if there are any.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from zoneinfo import available_timezones

from tests.oracle import LINES, changes
from tests.oracle.compare import differences


def look_at(name: str) -> tuple[int, list[str]]:
    """How many changes the zone has, and what differs."""
    count, wrong = 0, []
    for change in changes(name):
        count += 1
        for line in LINES:
            wrong += differences(line, name, change)
    return count, wrong


def main() -> int:
    names = sorted(available_timezones() - {"localtime"})
    total, wrong = 0, []
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for number, (count, found) in enumerate(pool.map(look_at, names, chunksize=4), 1):
            total, wrong = total + count, wrong + found
            if number % 50 == 0:
                print(f"{number} of {len(names)} zones, {total:,} changes", flush=True)
    for line in wrong[:50]:
        print(f"WRONG: {line}")
    print(
        f"{len(names)} zones, {total:,} clock changes, {len(LINES)} lines: "
        f"{len(wrong) or 'no'} differences"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
