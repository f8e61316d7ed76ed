"""Text that PostgreSQL can keep, of texts that come from anywhere."""

from __future__ import annotations

# A traceback of a deep recursion is megabytes; its two ends tell the story.
_LONGEST_TEXT = 40_000


def clean(text: str) -> str:
    """Text without what PostgreSQL refuses, cut in the middle when very long."""
    if len(text) > _LONGEST_TEXT:
        half = _LONGEST_TEXT // 2
        text = f"{text[:half]}\n  … {len(text) - 2 * half:,} characters …\n{text[-half:]}"
    return text.replace("\x00", "\\x00").encode(errors="backslashreplace").decode()
