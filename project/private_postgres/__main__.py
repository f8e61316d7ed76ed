"""`python -m project.private_postgres FOLDER start|stop`, for the Makefile."""

import sys
from pathlib import Path

from .server import Server

if __name__ == "__main__":
    folder, verb = Path(sys.argv[1]), sys.argv[2]
    if verb == "start":
        Server(folder).ensure_running()
    else:
        Server(folder).stop()
