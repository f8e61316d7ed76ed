"""From measured values to a table and a picture."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

# Of the table: (title, key, field, how to write it).
_COLUMNS = (
    ("single enqueue /s", "single", "per_s"),
    ("bulk enqueue /s", "bulk", "per_s"),
    ("no-op jobs /s, two processes", "noop_2", "per_s"),
    ("one process", "noop_1", "per_s"),
    ("500 naps of 0.1 s, jobs/s", "naps", "per_s"),
)


def brief(value: dict[str, Any]) -> str:
    """One line for the terminal."""
    if "failed" in value:
        return f"failed: {value['failed']}"
    if "ms" in value:
        return f"p50 {statistics.median(value['ms']):.1f} ms, worst {max(value['ms']):.1f} ms"
    parts = []
    for name, one in value.items():
        if isinstance(one, list):
            parts.append(f"{name} {', '.join(f'{x:,.0f}' for x in one)}")
        else:
            parts.append(f"{name} {one:,.0f}" if abs(one) >= 100 else f"{name} {one:.3g}")
    return ", ".join(parts)


def write(kept: dict[str, Any], folder: Path) -> str:
    """Write results.json, report.md and report.png into the folder; returns the text."""
    (folder / "results.json").write_text(json.dumps(kept, indent=1))
    text = "\n".join([*_peers(kept), "", *_ratios(kept), "", *_own(kept)])
    (folder / "report.md").write_text(text + "\n")
    _draw(kept, folder / "report.png")
    return text


def _values(kept: dict[str, Any], name: str, key: str, field: str) -> list[float]:
    rounds = kept["results"].get(name, {}).get(key, [])
    return [one[field] for one in rounds if field in one]


def median(kept: dict[str, Any], name: str, key: str, field: str = "per_s") -> float | None:
    values = _values(kept, name, key, field)
    return statistics.median(values) if values else None


def pings(kept: dict[str, Any], name: str) -> list[float]:
    """All rounds' latencies together, sorted."""
    return sorted(one for ms in _values(kept, name, "latency", "ms") for one in ms)  # type: ignore[attr-defined]


def _share(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _peers(kept: dict[str, Any]) -> list[str]:
    titles = [title for title, *_ in _COLUMNS]
    lines = [
        "| queue | keeps of a finished job | " + " | ".join(titles)
        + " | from enqueue to start, idle, p50 / p95 / p99 ms | memory, idle, MB |",
        "|---|---|" + "---:|" * (len(titles) + 2),
    ]  # fmt: skip
    for name, about in kept["about"].items():
        cells = [about["label"], about["keeps"] or "–"]
        for _, key, field in _COLUMNS:
            value = median(kept, name, key, field)
            cells.append("–" if value is None else f"{value:,.0f}")
        ms = pings(kept, name)
        cells.append(
            " / ".join(f"{_share(ms, share):.1f}" for share in (0.5, 0.95, 0.99)) if ms else "–"
        )
        memory = median(kept, name, "latency", "idle_mb") or median(kept, name, "noop_2", "idle_mb")
        cells.append("–" if memory is None else f"{memory:,.0f}")
        lines.append("| " + " | ".join(cells) + " |")
    for name, why in kept["left_out"].items():
        lines.append(f"\n{name} was left out: {why}")
    for name in kept["about"]:
        for key, rounds in kept["results"][name].items():
            for failed in {one["failed"] for one in rounds if "failed" in one}:
                lines.append(f"\n{kept['about'][name]['label']}, {key}: {failed}")
    return lines


def _ratios(kept: dict[str, Any]) -> list[str]:
    """This project against the best of the others, and against bare SQL."""
    if "jobs" not in kept["about"]:
        return []
    lines = []
    for title, key, field in _COLUMNS:
        own = median(kept, "jobs", key, field)
        others = {
            name: value
            for name in kept["about"]
            if name not in ("jobs", "bare") and (value := median(kept, name, key, field))
        }
        if own is None or not others:
            continue
        best = max(others, key=lambda name: others[name])
        line = (
            f"- {title}: {own / others[best]:.2f} × {kept['about'][best]['label']}, the next best"
        )
        bare = median(kept, "bare", key, field)
        if bare:
            line += f"; {own / bare:.0%} of bare SQL"
        lines.append(line)
    return lines


def _own(kept: dict[str, Any]) -> list[str]:
    results = kept["results"].get("jobs", {})
    lines = []
    for key, words in (
        ("naps_async", "500 naps of 0.1 s in coroutines"),
        ("idle", "queries of an idle worker, per runner"),
        ("inserts", "a bare INSERT of the same row, and enqueue"),
        ("producers", "16 producers beside an idle worker"),
        ("claims", "a claim beside finished rows, and rows waiting in another lane"),
        ("claims_15", "the same on PostgreSQL 15"),
        ("snapshot", "batch after batch, alone and under an open snapshot, jobs/s"),
        ("million", "memory over many jobs, MB"),
    ):
        for one in results.get(key, [])[:1]:
            lines.append(f"- {words}: {brief(one)}")
    return lines


def _draw(kept: dict[str, Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    panels = (
        ("No-op jobs per second, two processes", lambda name: median(kept, name, "noop_2")),
        ("No-op jobs per second, one process", lambda name: median(kept, name, "noop_1")),
        ("Enqueued per second, one by one", lambda name: median(kept, name, "single")),
        (
            "From enqueue to start, idle, median ms",
            lambda name: _share(pings(kept, name), 0.5) if pings(kept, name) else None,
        ),
    )
    names = list(kept["about"])
    figure, axes = pyplot.subplots(2, 2, figsize=(13, 2 + 0.62 * len(names)))
    for axis, (title, value_of) in zip(axes.flat, panels, strict=True):
        shown = [(name, value) for name in names if (value := value_of(name)) is not None]
        shown.sort(key=lambda pair: pair[1], reverse="ms" in title)
        labels = [kept["about"][name]["label"] for name, _ in shown]
        colours = [
            "#0b6e4f" if name == "jobs" else "#c9ced6" if name == "bare" else "#8a94a6"
            for name, _ in shown
        ]
        bars = axis.barh(labels, [value for _, value in shown], color=colours)
        written = [f"{value:,.1f}" if value < 100 else f"{value:,.0f}" for _, value in shown]
        axis.bar_label(bars, labels=written, padding=3, fontsize=8)
        axis.set_title(title, fontsize=10, loc="left")
        axis.spines[["top", "right", "bottom"]].set_visible(False)
        axis.tick_params(axis="y", length=0, labelsize=8)
        axis.set_xticks([])
        axis.margins(x=0.18)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
