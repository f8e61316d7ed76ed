"""Django's PostgreSQL backend, which starts the private server before the first connection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.db.backends.postgresql import base

from .server import Server


class DatabaseWrapper(base.DatabaseWrapper):
    def get_connection_params(self) -> dict[str, Any]:
        server = Server(Path(self.settings_dict["FOLDER"]))
        server.ensure_running()
        params: dict[str, Any] = super().get_connection_params()
        return params | {"host": str(server.socket_folder), "user": "postgres"}
