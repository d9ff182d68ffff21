"""What a notebook leaves behind in its kernel: listening ports, asyncio tasks, threads, descriptors.

Room: the kernel's own process, seen from inside; imports nothing of it here. `measure` is sent to the kernel as text
and runs there in a namespace of its own, so no name of it is left. psutil is there because ipykernel needs it.

Ports and tasks must be back at the fresh kernel's when the last cell has run. Threads and descriptors may be more
after a first run (imports, thread pools, a parked thread), but a second run must not add to them.
"""

import inspect
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SETTLE = 2.0
"""Seconds that threads and sockets get to finish closing before they count as left behind."""

_PAUSE = 0.05

_SPARE_WORKER = re.compile(r"(asyncio|ThreadPoolExecutor-\d+)_[1-9]\d*")
"""A pool's workers after its first: it makes one when all others are busy at that moment, up to its limit."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the kernel holds at one moment.

    ports: TCP ports on which the kernel or a process it started listens.
    tasks: name and coroutine of each asyncio task on the kernel's loop.
    threads: names of Python threads.
    descriptors: how many are open; None where the system does not say (Windows).
    targets: what they lead to, where the system says (Linux): a path, `socket`, `pipe`.
    """

    ports: Sequence[int]
    tasks: Sequence[Sequence[str]]
    threads: Sequence[str]
    descriptors: int | None
    targets: Sequence[str]


def measure() -> str:
    """A Snapshot as JSON. Runs in the kernel, from its source alone."""
    import asyncio
    import gc
    import json
    import os
    import threading

    import psutil

    gc.collect()  # garbage is not a leak
    me = psutil.Process()
    ports = set()
    for process in (me, *me.children(recursive=True)):
        try:
            connections = process.net_connections("tcp")
        except psutil.Error:
            continue  # it has just ended, or it is not ours to look into
        ports |= {connection.laddr.port for connection in connections if connection.status == psutil.CONN_LISTEN}
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:
        tasks = set()
    targets = []
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            targets.append(os.readlink("/proc/self/fd/" + name).split(":[")[0])
        except OSError:
            continue  # the descriptor of this very listing
    return json.dumps(
        {
            "ports": sorted(ports),
            "tasks": sorted([task.get_name(), getattr(task.get_coro(), "__qualname__", "?")] for task in tasks),
            "threads": sorted(thread.name for thread in threading.enumerate()),
            "descriptors": getattr(me, "num_fds", lambda: None)(),
            "targets": sorted(targets),
        }
    )


EXPRESSION = f"(lambda room: (exec({inspect.getsource(measure)!r}, room), room['measure']())[1])({{}})"
"""The Python expression that gives `measure()` in the kernel."""


def parse(text: str) -> Snapshot:
    """The Snapshot in what `measure` returned."""
    return Snapshot(**json.loads(text))


def left(fresh: Snapshot, now: Snapshot) -> list[str]:
    """What is still there after the last cell and was not in the fresh kernel: ports and tasks, named."""
    found = [f"port {port} is still listening" for port in sorted(set(now.ports) - set(fresh.ports))]
    spare = Counter(coroutine for _, coroutine in fresh.tasks)
    for name, coroutine in now.tasks:
        if spare[coroutine]:
            spare[coroutine] -= 1
        else:
            found.append(f"asyncio task {name} ({coroutine}) is still running")
    return found


def grown(first: Snapshot, second: Snapshot) -> list[str]:
    """What the second run of the whole notebook added: threads and descriptors, named."""
    found = []
    before, after = ([name for name in each.threads if not _SPARE_WORKER.fullmatch(name)] for each in (first, second))
    if len(after) > len(before):
        found.append(_growth("threads", len(before), len(after), before, after))
    if first.descriptors is not None and second.descriptors > first.descriptors:
        found.append(_growth("descriptors", first.descriptors, second.descriptors, first.targets, second.targets))
    return found


def _growth(what: str, before: int, after: int, first: Sequence[str], second: Sequence[str]) -> str:
    added = Counter(second) - Counter(first)
    names = ", ".join(f"{name} ×{count}" if count > 1 else name for name, count in sorted(added.items()))
    return f"there are more {what} than after the first: {before} → {after}" + (f" ({names})" if names else "")


def settled(
    evaluate: Callable[[str], str],
    complaints: Callable[[Snapshot], list[str]] = lambda snapshot: [],
) -> tuple[Snapshot, list[str]]:
    """A Snapshot and the complaints about it, taken again until there are none or `SETTLE` seconds have passed.

    evaluate: gives the value of an expression in the kernel.
    """
    deadline = time.monotonic() + SETTLE
    while True:
        snapshot = parse(evaluate(EXPRESSION))
        found = complaints(snapshot)
        if not found or time.monotonic() >= deadline:
            return snapshot, found
        time.sleep(_PAUSE)
