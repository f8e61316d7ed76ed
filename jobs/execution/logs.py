"""What a task logs, kept with its attempt: its first lines and its last, so many bytes and no more.

One handler at the root logger, in each runner: a record belongs to the job whose context it was
made in, and where there is none, nothing is kept.
"""

from __future__ import annotations

import logging
from collections import deque
from datetime import UTC, datetime

from jobs import conf
from jobs.errors import JobCancelled, JobTimeout

from .context import current_or_none
from .text import clean

# Of one record, in characters, with its traceback.
_LONGEST = 8_000
# The message, and the traceback below it.
_format = logging.Formatter("%(message)s")


class Log:
    """What one attempt has logged. Written by the attempt's own thread, or by several that it has
    given its context, and read by another: what they do at once costs a line at most."""

    __slots__ = ("_first", "_last", "_room", "_size", "lines", "next_at", "written")

    def __init__(self, most: int) -> None:
        # How many lines there were, those that are left out among them, and how many of these
        # the database knows of; when it is told next.
        self.lines = self.written = 0
        self.next_at = 0.0
        self._first: list[str] = []
        self._last: deque[str] = deque()
        # For each of the two, in bytes.
        self._room = most // 2
        self._size = 0

    def add(self, line: str) -> None:
        """The first lines, as long as there is room, and then the last ones."""
        self.lines += 1
        size = _bytes_of(line)
        if not self._last and self._size + size <= self._room:
            self._first.append(line)
            self._size += size
            return
        if not self._last:
            self._size = 0
        self._last.append(line)
        self._size += size
        if self._size > self._room:
            self._trim()

    def _trim(self) -> None:
        # Counted anew: several may have counted at once.
        last = list(self._last)
        size = sum(map(_bytes_of, last))
        while size > self._room - self._room // 4 and len(last) > 1:
            size -= _bytes_of(last.pop(0))
        self._last, self._size = deque(last), size

    @property
    def text(self) -> str:
        """All that is kept, one below the other; a line of its own says how many are not."""
        # In one step: the other thread goes on writing.
        first, last = list(self._first), list(self._last)
        left_out = self.lines - len(first) - len(last)
        if left_out > 0:
            first.append(f"… {left_out:,} …")
        return "\n".join((*first, *last))


def _bytes_of(line: str) -> int:
    """How many it takes in PostgreSQL, with the end of the line."""
    return 1 + (len(line) if line.isascii() else len(line.encode()))


class _NoLock:
    """For handlers that need none."""

    def acquire(self) -> None: ...

    def release(self) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


class _Unlocked(logging.Handler):
    """An interruption could leave it locked for everybody."""

    def createLock(self) -> None:  # noqa: N802
        self.lock = _NoLock()  # type: ignore[assignment]


class LogHandler(_Unlocked):
    """Keeps the records of jobs; of everything else none."""

    def __init__(self, level: str) -> None:
        super().__init__(level)
        self._most = conf.settings().max_log_bytes

    def emit(self, record: logging.LogRecord) -> None:
        context = current_or_none()
        if context is None:
            return
        try:
            context.keep(clean(told(record)), self._most)
        except (JobTimeout, JobCancelled):
            # On its way to the task, and sent once only.
            raise
        except Exception:
            self.handleError(record)


class _LastResort(_Unlocked):
    """Does what `logging` does for records that no handler gets: with ours, it would not."""

    def emit(self, record: logging.LogRecord) -> None:
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None and logger is not logging.root:
            if logger.handlers:
                return
            logger = logger.parent
        if logging.lastResort is not None:
            logging.lastResort.handle(record)


def told(record: logging.LogRecord) -> str:
    """One record: when, how grave, who, what, and the traceback below it."""
    text = _format.format(record)
    if len(text) > _LONGEST:
        half = _LONGEST // 2
        text = f"{text[:half]} … {len(text) - 2 * half:,} … {text[-half:]}"
    # So that no line of a message looks like another record.
    text = text.replace("\n", "\n  ")
    moment = datetime.fromtimestamp(record.created, UTC)
    at = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
    return f"{at} {record.levelname} {record.name}: {text}"


def keep_logs() -> None:
    """From now on, what jobs of this process log is kept.

    Where the site has not said how the root logger is to be, it lets through what is kept, and
    still shows on the console what it did before.
    """
    settings = conf.settings()
    if settings.keep_log == "never":
        return
    root, handler = logging.getLogger(), LogHandler(settings.log_level)
    if not root.handlers:
        root.addHandler(_LastResort(logging.WARNING))
        root.setLevel(min(root.level, handler.level))
    root.addHandler(handler)
