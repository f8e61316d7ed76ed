"""Measure this project beside other queues, on the same work, on this machine, in one run.

    python -m bench [--quick] [--only jobs,graphile] [--rounds 3]

Rounds are interleaved: each measures every queue, so that a busy minute hits all of them.
Results go to .bench/results.json, .bench/report.md and .bench/report.png.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from . import report, servers
from .host import Host
from .measures import Failed
from .peer import Places, free_port
from .peers import PEERS

# A measure of each peer: (key, name in measures.py, arguments given how many jobs).
Step = tuple[str, str, tuple[Any, ...], dict[str, Any]]
Results = dict[str, dict[str, list[Any]]]


def main() -> int:
    options = _options()
    # So that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = servers.FOLDER
    folder.mkdir(exist_ok=True)
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(servers.postgres("server"))
        redis_url = stack.enter_context(servers.redis())
        hosts, about, left_out = _hosts(stack, options, server, redis_url)
        results: Results = {name: {} for name in hosts}
        kept = {
            "machine": _machine(),
            "rounds": options.rounds,
            "quick": options.quick,
            "about": about,
            "left_out": left_out,
            "results": results,
        }
        for number in range(1, options.rounds + 1):
            _say(f"round {number} of {options.rounds}")
            _round(hosts, about, results, quick=options.quick)
            report.write(kept, folder)
        if "jobs" in hosts and not options.peers_only:
            _say("this project alone")
            _own(hosts["jobs"], results["jobs"], quick=options.quick)
            _on_the_oldest(results["jobs"], left_out, quick=options.quick)
    kept["minutes"] = (time.monotonic() - began) / 60
    text = report.write(kept, folder)
    print(f"\n{text}")
    own = [value for values in results.get("jobs", {}).values() for value in values]
    return 1 if any("failed" in value for value in own) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="one round of fewer jobs")
    parser.add_argument("--rounds", type=int, help="3, and 1 with --quick")
    parser.add_argument("--only", help=f"some of {', '.join(PEERS)}")
    parser.add_argument("--peers-only", action="store_true", help="not what is of this project")
    options = parser.parse_args()
    options.names = options.only.split(",") if options.only else list(PEERS)
    unknown = set(options.names) - set(PEERS)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def _hosts(
    stack: contextlib.ExitStack,
    options: argparse.Namespace,
    server: servers.Database,
    redis_url: str | None,
) -> tuple[dict[str, Host], dict[str, Any], dict[str, str]]:
    """Each queue that can be had, what it is, and why the others cannot."""
    hosts, about, left_out = {}, {}, {}
    for number, name in enumerate(options.names):
        database = servers.create(server, f"bench_{name.replace('-', '_')}")
        folder = servers.FOLDER.absolute() / name
        shutil.rmtree(folder, ignore_errors=True)
        places = Places(database, f"{redis_url or ''}{number}", folder, free_port())
        host = Host(name, places)
        stack.callback(host.close)
        try:
            told = host.ask("describe")
            why = told["missing"]
            if "redis" in told["needs"] and redis_url is None:
                why = "redis-server is not installed (a Debian package)"
            if why is None:
                host.ask("prepare")
        except Failed as failed:
            why = str(failed)
        if why is not None:
            left_out[name] = why
            _say(f"{name} is left out: {why}")
            continue
        hosts[name], about[name] = host, told
    return hosts, about, left_out


def _round(hosts: dict[str, Host], about: dict[str, Any], results: Results, *, quick: bool) -> None:
    for name, host in hosts.items():
        jobs = max(500, about[name]["jobs"] // (5 if quick else 1))
        steps: list[Step] = [
            ("single", "single", (300 if quick else 1000,), {}),
            ("bulk", "bulk", (20_000 if quick else 100_000,), {}),
            ("noop_2", "noop", (2, jobs), {}),
            ("noop_1", "noop", (1, jobs // 2), {}),
            ("naps", "naps", (), {"coroutines": False}),
            ("latency", "latency", (20 if quick else 50,), {}),
        ]
        if name == "jobs":
            steps.insert(5, ("naps_async", "naps", (), {"coroutines": True}))
        needs = {"bulk": "many", "naps": "naps", "naps_async": "naps", "latency": "ping"}
        for key, what, arguments, named in steps:
            if needs.get(key) not in about[name]["cannot"]:
                _measure(host, key, what, arguments, named, results[name])


def _own(host: Host, results: dict[str, list[Any]], *, quick: bool) -> None:
    part = 5 if quick else 1
    steps: list[Step] = [
        ("idle", "idle", (20.0,), {}),
        ("inserts", "inserts", (300 if quick else 1000,), {}),
        ("producers", "producers", (16, 100 if quick else 250), {}),
        ("claims", "claims", (20_000, 1_000_000 // part), {}),
        ("snapshot", "snapshot", (100_000 // part, 5), {}),
        ("million", "million", (1_000_000 // part, 10), {}),
    ]
    for key, what, arguments, named in steps:
        _measure(host, key, what, arguments, named, results)


def _on_the_oldest(results: dict[str, list[Any]], left_out: dict[str, str], *, quick: bool) -> None:
    """What a newer planner might hide."""
    found = servers.oldest()
    if found is None:
        left_out["claims on PostgreSQL 15"] = "it is not installed (a Debian package)"
        return
    version, programs = found
    with servers.postgres(f"server-{version}", programs) as server:
        places = Places(server, "", servers.FOLDER.absolute() / f"jobs-{version}")
        with contextlib.closing(Host("jobs", places)) as host:
            host.ask("prepare")
            rows = 200_000 if quick else 1_000_000
            _measure(host, f"claims_{version}", "claims", (20_000, rows), {}, results)


def _measure(
    host: Host,
    key: str,
    what: str,
    arguments: tuple[Any, ...],
    named: dict[str, Any],
    results: dict[str, list[Any]],
) -> None:
    began = time.monotonic()
    try:
        value = host.ask(what, *arguments, **named)
    except Failed as failed:
        value = {"failed": str(failed)}
    results.setdefault(key, []).append(value)
    _say(f"{host.name:14} {key:10} {report.brief(value):40} {time.monotonic() - began:5.1f} s")


def _machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "day": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "memory_gib": round(memory),
        "processor": _processor(),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line[:10] == "model name"), "")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
