"""A module that cannot be imported, and says so in an unusual way."""

raise SystemExit("broken")
