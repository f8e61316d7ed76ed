"""Every legal change of a job's state, one file each. Nothing else writes it.

`insert`, `again`, `cancel`, `retry`, `move` and `pause` work on Django's connection, in the
caller's transaction. `claim`, `record` and `rescue` are the worker's, and `fire` is the beat's:
they take a psycopg connection that does nothing else (see `connection`), and each is one statement,
fenced by the claim, or by the version of the schedule's row.
"""

from .again import AGAIN_OF, CHANGED, again
from .cancel import cancel, cancel_on, cancel_these
from .claim import START, Brought, Claimed, Lane, Place, Reply, Seen, claim, first_due, glance, look
from .connection import STATEMENT_TIMEOUT, connect, pause_after
from .failures import describe, is_about_values, is_gone, is_refused, is_transient
from .fire import Firing, Move, fire
from .follow import FOLLOWS, Follower, said_by
from .insert import Draft, insert
from .move import move
from .note import note
from .pause import PART, park, pause, pause_task, resume, resume_task
from .prune import FIRST, LAST, Walked, delete, prune, walk
from .record import (
    Ended,
    Sent,
    commit_finish,
    forget_claims,
    kind_of,
    record,
    record_refused,
    unrecorded,
)
from .refusals import forget_refusals, note_refusal, write_apart
from .rescue import (
    LOST_CLASS,
    Orphan,
    Rescued,
    adopt,
    claims_of,
    end_killed,
    give_back,
    give_back_apart,
    members,
    orphans,
    strays,
)
from .retry import retry, retry_these
from .running import (
    Logged,
    Told,
    cancel_requests,
    forget_logs,
    silenced,
    write_logs,
    write_progress,
)

__all__ = [
    "AGAIN_OF",
    "CHANGED",
    "FIRST",
    "FOLLOWS",
    "LAST",
    "LOST_CLASS",
    "PART",
    "START",
    "STATEMENT_TIMEOUT",
    "Brought",
    "Claimed",
    "Draft",
    "Ended",
    "Firing",
    "Follower",
    "Lane",
    "Logged",
    "Move",
    "Orphan",
    "Place",
    "Reply",
    "Rescued",
    "Seen",
    "Sent",
    "Told",
    "Walked",
    "adopt",
    "again",
    "cancel",
    "cancel_on",
    "cancel_requests",
    "cancel_these",
    "claim",
    "claims_of",
    "commit_finish",
    "connect",
    "delete",
    "describe",
    "end_killed",
    "fire",
    "first_due",
    "forget_claims",
    "forget_logs",
    "forget_refusals",
    "give_back",
    "give_back_apart",
    "glance",
    "insert",
    "is_about_values",
    "is_gone",
    "is_refused",
    "is_transient",
    "kind_of",
    "look",
    "members",
    "move",
    "note",
    "note_refusal",
    "orphans",
    "park",
    "pause",
    "pause_after",
    "pause_task",
    "prune",
    "record",
    "record_refused",
    "resume",
    "resume_task",
    "retry",
    "retry_these",
    "said_by",
    "silenced",
    "strays",
    "unrecorded",
    "walk",
    "write_apart",
    "write_logs",
    "write_progress",
]
