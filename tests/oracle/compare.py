"""What jobs.cron says, beside what the oracle says."""

from __future__ import annotations

from datetime import datetime

from jobs.cron import Cron

from . import expected, window


def found(line: str, name: str, change: datetime) -> list[datetime]:
    rule, (now, end) = Cron(line, name), window(change)
    ticks: list[datetime] = []
    while True:
        tick = rule.next_after(now, "UTC")
        assert tick is not None
        if tick > end:
            return ticks
        ticks.append(tick)
        now = tick


def differences(line: str, name: str, change: datetime) -> list[str]:
    wanted, got = expected(line, name, change), found(line, name, change)
    if wanted == got:
        return []
    only_wanted, only_got = sorted(set(wanted) - set(got)), sorted(set(got) - set(wanted))
    told = (
        f"{line} in {name} at {change:%Y-%m-%d %H:%M}: "
        f"missing {[f'{one:%d %H:%M}' for one in only_wanted[:3]]}, "
        f"too many {[f'{one:%d %H:%M}' for one in only_got[:3]]}"
    )
    return [told]
