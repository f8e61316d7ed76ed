"""What the commands share: log lines on the console, and signals that end a loop."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


def show_log_on_the_console(stream: Any) -> None:
    """Show the log of `jobs`, unless the site's own settings say where it goes."""
    logger = logging.getLogger("jobs")
    if logger.hasHandlers():
        return
    handler = logging.StreamHandler(stream)
    handler.terminator = ""
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


@contextlib.contextmanager
def is_serving(stop: Callable[[], None]) -> Iterator[None]:
    """While it lasts, SIGTERM and SIGINT call `stop`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda *_: stop()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
