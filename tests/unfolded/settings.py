"""The tests' settings, and what docs/admin.md says of django-unfold."""

import re
from typing import Any

from tests.settings import *  # noqa: F403
from tests.settings import BASE_DIR, DATABASES, INSTALLED_APPS, MIDDLEWARE

_said = re.search(
    r"## Under django-unfold.*?```python\n(.*?)```",
    (BASE_DIR / "docs/admin.md").read_text(),
    re.S,
)
assert _said is not None
_made: dict[str, Any] = {}
exec(_said[1], _made)
INSTALLED_APPS = [_made["INSTALLED_APPS"][0], *INSTALLED_APPS]
UNFOLD = _made["UNFOLD"]
# Unfold's own scripts need more than our policy allows.
MIDDLEWARE = [name for name in MIDDLEWARE if not name.startswith("tests.csp")]
DATABASES["default"]["NAME"] = "unfolded"
DATABASES["second"]["NAME"] = "unfolded_second"
