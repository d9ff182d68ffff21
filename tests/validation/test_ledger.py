"""What a notebook leaves in its kernel."""

import asyncio
import os
import socket
import threading
from dataclasses import replace

import psutil
from nbval.kernel import CURRENT_ENV_KERNEL_NAME

from labserver.validation import ledger
from labserver.validation.kernel import StrictKernel
from labserver.validation.ledger import Snapshot, grown, left, measure, parse, settled

FRESH = Snapshot(ports=[1], tasks=[["Task-1", "main"]], threads=["a"], descriptors=3, targets=["pipe"])


def test_a_listening_port_a_thread_and_a_file_are_seen(tmp_path):
    """The snapshot of this process holds a port while it listens, a thread while it runs, a file while it is open."""
    before = parse(measure())
    stop = threading.Event()
    worker = threading.Thread(target=stop.wait, name="worker")
    with socket.create_server(("127.0.0.1", 0)) as server, (tmp_path / "open.txt").open("w") as file:
        worker.start()
        during = parse(measure())
        port = server.getsockname()[1]
    stop.set()
    worker.join()
    after = parse(measure())
    assert port in during.ports and port not in after.ports
    assert "worker" in during.threads and "worker" not in after.threads
    assert len(left(before, during)) == 1
    if os.path.isdir("/proc/self/fd"):
        assert file.name in during.targets and file.name not in after.targets


def test_the_tasks_of_a_running_loop_are_seen():
    """Each task has its name and its coroutine's; without a loop there are none."""

    async def main():
        return parse(measure())

    assert parse(measure()).tasks == []
    (task,) = asyncio.run(main()).tasks
    assert task[1].endswith("main")


def test_a_process_that_cannot_be_looked_into_is_passed_over(monkeypatch):
    """A process that ends while it is looked at, and a system without /proc, do not stop the snapshot."""

    def gone(self, kind):
        raise psutil.NoSuchProcess(self.pid)

    monkeypatch.setattr(psutil.Process, "net_connections", gone)
    monkeypatch.setattr(os.path, "isdir", lambda path: False)
    snapshot = parse(measure())
    assert (snapshot.ports, snapshot.targets) == ([], [])


def test_what_is_left_is_named():
    """Ports and tasks beyond the fresh kernel's are told by number, name and coroutine."""
    now = replace(FRESH, ports=[1, 4711], tasks=[["Task-9", "main"], ["Task-7", "tick"], ["Task-8", "main"]])
    assert left(FRESH, FRESH) == []
    assert left(FRESH, now) == [
        "port 4711 is still listening",
        "asyncio task Task-7 (tick) is still running",
        "asyncio task Task-8 (main) is still running",
    ]


def test_what_has_grown_is_named():
    """More threads or descriptors are told with the new ones' names; fewer, or others as many, are fine."""
    second = replace(FRESH, threads=["a", "b", "c", "c"], descriptors=5, targets=["pipe", "socket", "socket"])
    assert grown(FRESH, second) == [
        "there are more threads than after the first: 1 → 4 (b, c ×2)",
        "there are more descriptors than after the first: 3 → 5 (socket ×2)",
    ]
    assert grown(second, FRESH) == []
    assert grown(FRESH, replace(FRESH, threads=["b"], targets=["socket"])) == []


def test_a_pool_that_has_one_worker_more_has_not_grown():
    """How many workers a pool has depends on what happened at the same moment; a second pool is a leak."""
    first = replace(FRESH, threads=["asyncio_0", "ThreadPoolExecutor-1_0"])
    more = ["asyncio_0", "asyncio_1", "ThreadPoolExecutor-1_0", "ThreadPoolExecutor-1_12"]
    assert grown(first, replace(first, threads=more)) == []
    (found,) = grown(first, replace(first, threads=[*more, "ThreadPoolExecutor-2_0"]))
    assert found == "there are more threads than after the first: 2 → 3 (ThreadPoolExecutor-2_0)"


def test_a_system_that_does_not_count_descriptors_is_fine():
    """Where descriptors are unknown they are not judged; where their targets are, the count alone is told."""
    unknown = replace(FRESH, descriptors=None)
    assert grown(unknown, unknown) == []
    nameless = replace(FRESH, targets=[])
    assert grown(nameless, replace(nameless, descriptors=4)) == [
        "there are more descriptors than after the first: 3 → 4"
    ]


def test_settling_waits_until_nothing_is_complained_of(monkeypatch):
    """A socket that is still closing is given time; a lasting complaint is returned in the end."""
    answers = [["still closing"], []]
    assert settled(lambda expression: measure(), lambda now: answers.pop(0))[1] == []
    monkeypatch.setattr(ledger, "SETTLE", 0.0)
    assert settled(lambda expression: measure(), lambda now: ["left"])[1] == ["left"]


def test_the_kernel_is_measured_without_a_trace(tmp_path):
    """In a kernel the expression gives a snapshot, and leaves no name, no history and no output behind."""
    kernel = StrictKernel(CURRENT_ENV_KERNEL_NAME, str(tmp_path), 60)

    def run(source):
        kernel.await_reply(kernel.execute_cell_input(source), timeout=20)
        return settled(lambda expression: kernel.evaluate(expression, 20))[0]

    try:
        fresh, _ = settled(lambda expression: kernel.evaluate(expression, 20))
        run("before = set(globals())")
        run("import asyncio; task = asyncio.ensure_future(asyncio.sleep(60))")
        now = run("found = [name for name in globals() if name not in before and name[0] != '_'], len(In)")
        assert kernel.evaluate("found", 20) == (["before", "asyncio", "task"], 4)
    finally:
        kernel.stop()
    (complaint,) = left(fresh, now)
    assert complaint.endswith("(sleep) is still running")
