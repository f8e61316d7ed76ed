"""Every legal change of a job's state, one file each. Nothing else writes it.

`insert`, `cancel`, `retry` and `pause` work on Django's connection, in the caller's
transaction. `claim`, `record` and `rescue` are the worker's: they take a psycopg connection
that does nothing else (see `connection`), and each is one statement, fenced by the claim.
"""

from .cancel import cancel
from .claim import Claimed, Lane, Reply, claim, look
from .connection import connect, is_gone, is_refused
from .insert import Draft, insert
from .pause import pause, resume
from .record import Ended, Sent, commit_finish, forget_claims, record, record_refused, unrecorded
from .rescue import Orphan, give_back, orphans, strays
from .retry import retry
from .running import Told, cancel_requests, write_progress

__all__ = [
    "Claimed",
    "Draft",
    "Ended",
    "Lane",
    "Orphan",
    "Reply",
    "Sent",
    "Told",
    "cancel",
    "cancel_requests",
    "claim",
    "commit_finish",
    "connect",
    "forget_claims",
    "give_back",
    "insert",
    "is_gone",
    "is_refused",
    "look",
    "orphans",
    "pause",
    "record",
    "record_refused",
    "resume",
    "retry",
    "strays",
    "unrecorded",
    "write_progress",
]
