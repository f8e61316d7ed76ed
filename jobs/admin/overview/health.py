"""What of the server makes jobs slow, in words, with what to do about it; and its tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext

from jobs.models import Worker

from ..words import briefly, whole

# From here on it is told: of what is open, in seconds; of a slot, in transactions; of connections,
# as a share of those that there may be; of dead rows, in rows: autovacuum comes at 20,000; of
# claims, in seconds: they take milliseconds.
OPEN_FOR, BEHIND, TAKEN, DEAD, CLAIMING = 600.0, 100_000, 0.9, 2_000_000, 0.25


def words(health: Mapping[str, Any], *, with_queries: bool = False) -> Iterator[str]:
    """One sentence or two for each; `with_queries` for who may see what stands in them."""
    yield from _held_back(health, with_queries=with_queries)
    used, most = health["connections"], health["most_connections"]
    if used >= TAKEN * most:
        told = gettext(
            "%(used)d of %(most)d connections to PostgreSQL are taken: raise max_connections, or "
            "put a pooler before it."
        )
        yield told % {"used": used, "most": most}
    dead = sum(one["dead"] for one in health["tables"] if one["name"] == "jobs_job")
    if dead > DEAD:
        told = gettext(
            "The table of jobs has %(count)s dead rows, which autovacuum has not removed: it may "
            "be held back, switched off or too slow."
        )
        yield told % {"count": whole(dead)}


def slow_claims(workers: Iterable[Worker]) -> Iterator[str]:
    for worker in workers:
        if (worker.claim_time or 0.0) > CLAIMING:
            told = gettext(
                "A claim takes the worker %(worker)s %(time)s: the server is busy or far away, or "
                "dead rows are in the way."
            )
            yield told % {"worker": worker.name, "time": briefly(worker.claim_time or 0.0)}


def tables(health: Mapping[str, Any]) -> list[dict[str, str]]:
    """The largest first, as they are shown."""
    return [
        {
            "name": one["name"],
            "live": whole(one["live"]),
            "dead": whole(one["dead"]),
            "vacuumed": "" if one["vacuumed"] is None else briefly(one["vacuumed"]),
            "size": filesizeformat(one["bytes"]),
        }
        for one in health["tables"]
    ]


def _held_back(health: Mapping[str, Any], *, with_queries: bool) -> Iterator[str]:
    """Dead rows that somebody might still see are kept, and claims walk over them."""
    for one in health["transactions"]:
        is_unseen = one["age"] is None and (one["behind"] or 0) > BEHIND
        if is_unseen or (one["age"] or 0.0) > OPEN_FOR:
            told = gettext(
                "A transaction has been open for %(time)s (%(name)s, %(state)s), and keeps dead "
                "rows from being removed. To end it: SELECT pg_terminate_backend(%(pid)d)"
            )
            name = one["application_name"] or "–"
            time = gettext("an unknown time") if is_unseen else briefly(one["age"])
            said = {"time": time, "name": name, "pid": one["pid"]}
            words = told % (said | {"state": one["state"] or "–"})
            if with_queries and one["query"]:
                query = gettext("its last statement: %(query)s") % {"query": one["query"]}
                words = f"{words} ({query})"
            yield words
    for one in health["prepared"]:
        if one["age"] > OPEN_FOR:
            told = gettext(
                "A transaction was prepared %(time)s ago and never ended: it keeps dead rows from "
                "being removed. To end it: ROLLBACK PREPARED '%(gid)s'"
            )
            yield told % {"time": briefly(one["age"]), "gid": one["gid"]}
    for one in health["slots"]:
        if one["behind"] > BEHIND:
            told = gettext(
                "Nobody reads from the replication slot %(name)s, which keeps dead rows from being "
                "removed. To drop it: SELECT pg_drop_replication_slot('%(name)s')"
            )
            yield told % {"name": one["slot_name"]}
