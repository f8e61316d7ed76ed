"""A PostgreSQL of the project's own, for development and first steps: no server to install."""
