"""Rules in words, in the language of whoever reads them. cron-descriptor knows the grammar."""

from __future__ import annotations

import calendar
from datetime import timedelta
from functools import lru_cache
from pathlib import Path

import cron_descriptor
from django.utils import dates
from django.utils.formats import date_format
from django.utils.timesince import TIME_STRINGS
from django.utils.timezone import localtime
from django.utils.translation import get_language, gettext, ngettext, to_locale
from django.utils.translation import gettext_lazy as _

from .lines import NICKNAMES, Cron
from .rules import At, Every, Rule

_LOCALES = Path(cron_descriptor.__file__).parent / "locale"
_WORDLESS = (
    cron_descriptor.FormatError,
    cron_descriptor.MissingFieldError,
    LookupError,
    ValueError,
)
EVENTS_IN_WORDS = {
    "dawn_astronomical": _("At each astronomical dawn"),
    "dawn_nautical": _("At each nautical dawn"),
    "dawn_civil": _("At each civil dawn"),
    "sunrise": _("At each sunrise"),
    "solar_noon": _("At each solar noon"),
    "sunset": _("At each sunset"),
    "dusk_civil": _("At each civil dusk"),
    "dusk_nautical": _("At each nautical dusk"),
    "dusk_astronomical": _("At each astronomical dusk"),
}
# Where these stand in a line.
_DAY, _WEEKDAY = 2, 4


def in_words(rule: Rule) -> str:
    """What the rule says; a cron line that has no words stands for itself."""
    if isinstance(rule, Cron):
        said = _cron(rule)
        return f"{said} ({rule.timezone})" if rule.timezone else said
    if isinstance(rule, Every):
        return gettext("Every %(interval)s") % {"interval": _duration(rule.interval)}
    if isinstance(rule, At):
        moment = date_format(localtime(rule.moment), "DATETIME_FORMAT")
        return gettext("Once: %(moment)s") % {"moment": moment}
    place = {"latitude": rule.latitude, "longitude": rule.longitude}
    return f"{EVENTS_IN_WORDS[rule.event]} (%(latitude)s, %(longitude)s)" % place


def _cron(rule: Cron) -> str:
    fields = NICKNAMES.get(rule.line, rule.line).split()
    if "#" in fields[_WEEKDAY] and "," in fields[_WEEKDAY]:
        # Its words would lose the ordinals.
        return rule.line
    try:
        if rule.days == "either" or {fields[_DAY], fields[_WEEKDAY]} & {"*", "?"}:
            return _describe(fields)
        # "Every minute, only on Friday": of that, what comes behind the comma.
        weekday = _describe(["*", "*", "*", "*", fields[_WEEKDAY]]).partition(", ")[2]
        fields[_WEEKDAY] = "*"
        parts = {"line": _describe(fields), "weekday": weekday}
        return gettext("%(line)s, and %(weekday)s") % parts
    except _WORDLESS:
        return rule.line


def _describe(fields: list[str]) -> str:
    options = cron_descriptor.Options()
    options.locale_code = _locale(get_language() or "en")
    options.use_24hour_time_format = True
    # It has the seconds first.
    line = " ".join([*fields[5:], *fields[:5]])
    said: str = cron_descriptor.ExpressionDescriptor(line, options).get_description()
    # It has the days' and months' names from the process's own language.
    for number in range(7):
        said = said.replace(calendar.day_name[number], str(dates.WEEKDAYS[number]))
    for number in range(1, 13):
        said = said.replace(calendar.month_name[number], str(dates.MONTHS[number]))
    return said


@lru_cache
def _locale(language: str) -> str:
    """The library's locale that is nearest to one of Django's languages."""
    wanted = to_locale(language).replace("zh_Hans", "zh_CN").replace("zh_Hant", "zh_TW")
    there = sorted(file.stem for file in _LOCALES.glob("*.mo"))
    own = [name for name in there if name.partition("_")[0] == wanted.partition("_")[0]]
    national = f"{wanted}_{wanted.upper()}"
    return next((name for name in (wanted, national, *own) if name in there), "en_US")


def _duration(interval: timedelta) -> str:
    seconds = int(interval.total_seconds())
    parts = []
    for name, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(TIME_STRINGS[name] % {"num": count})
    if seconds or not parts:
        parts.append(ngettext("%(num)d second", "%(num)d seconds", seconds) % {"num": seconds})
    return ", ".join(parts)
