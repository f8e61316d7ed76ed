"""The queues that are measured, one file each. PEERS has them in the table's order."""

from __future__ import annotations

from importlib import import_module

from bench.peer import Peer, Places

# name: (module, class)
PEERS = {
    "jobs": ("ours", "Jobs"),
    "bare": ("bare", "BareSQL"),
    "graphile": ("graphile", "Graphile"),
    "pgqueuer": ("pgqueuer", "PgQueuer"),
    "procrastinate": ("procrastinate", "Procrastinate"),
    "tasksdb": ("tasksdb", "TasksDB"),
    "celery": ("celery", "Celery"),
    "celery-forget": ("celery", "CeleryForget"),
    "huey": ("huey", "Huey"),
    "dramatiq": ("dramatiq", "Dramatiq"),
}


def make(name: str, places: Places) -> Peer:
    module, kind = PEERS[name]
    made: Peer = getattr(import_module(f"bench.peers.{module}"), kind)(places)
    return made
