"""When a schedule ticks: rules, the moments that each names, and which of them to fire.

No database and no clock here: whoever asks says what time it is. `cron`, `every`, `at` and `solar`
are for `@task(schedule=…)` and JOBS["SCHEDULES"].
"""

from .due import CATCH_UP, LATE, Due, Policy, due, first_after
from .lines import Cron
from .plan import OPTIONS, Plan, as_plan, at, cron, every, solar
from .rules import EPOCH, LONGEST, At, Every, Rule
from .sun import EVENTS, Solar
from .words import EVENTS_IN_WORDS, in_words
from .zones import Zones, zone

__all__ = [
    "CATCH_UP",
    "EPOCH",
    "EVENTS",
    "EVENTS_IN_WORDS",
    "LATE",
    "LONGEST",
    "OPTIONS",
    "At",
    "Cron",
    "Due",
    "Every",
    "Plan",
    "Policy",
    "Rule",
    "Solar",
    "Zones",
    "as_plan",
    "at",
    "cron",
    "due",
    "every",
    "first_after",
    "in_words",
    "solar",
    "zone",
]
