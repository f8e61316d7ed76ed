"""The beat: enqueues what the schedules say is due, each tick once, with any number of beats.

There is no leader. A beat reads what is due, thinks, and makes its moves in one statement that
skips whatever another beat has moved meanwhile (`lifecycle.fire`). The database is the clock.
"""

from .declared import Declared, declared, encoded, synchronise
from .firing import Beat, run_now
from .serving import serve

__all__ = ["Beat", "Declared", "declared", "encoded", "run_now", "serve", "synchronise"]
