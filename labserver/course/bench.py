"""Where checks put an answer to the test, and what they say of it in one line.

Room: what the checks of `checks/lesson_NN.py` share. It runs on the loop that `judge` made for the check, never on the
kernel's; only the live half of `parity` is on the server's.
"""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from labserver.errors import TimeLimit
from labserver.live import settling
from labserver.live.layers import Layers, RecordedLayer, here
from labserver.live.parity import Parity, parity
from labserver.live.recorder import awaited_lines, own_lines
from labserver.live.server import checked
from labserver.trace.events import Event, Log, Trace

from .exercise import Misconception

CONNECT = {"type": "websocket.connect"}
LEAVE = {"type": "websocket.disconnect", "code": 1001}


def text(said: str) -> dict[str, Any]:
    """The event of a text message from the client."""
    return {"type": "websocket.receive", "text": said}


def data(said: bytes) -> dict[str, Any]:
    """The event of a binary message from the client."""
    return {"type": "websocket.receive", "bytes": said}


class Crashed(Exception):
    """The answer raised this error."""

    def __init__(self, error: BaseException):
        super().__init__(str(error))
        self.error = error


class Client:
    """One client that the bench plays; made by `Bench.join`."""

    def __init__(self, bench: "Bench", application: Callable, scope: dict[str, Any]):
        self._bench = bench
        self._trace = Trace(bench.log)
        self._queue: asyncio.Queue = asyncio.Queue()
        self._errors: list[BaseException] = []
        self._events = 0
        self._ending = False
        bench.joined += 1
        self._number = bench.joined  # as the bench's own log counts them
        bench.recorder.swap(checked(application))
        self._task = asyncio.create_task(self._run(scope))

    async def _run(self, scope: dict[str, Any]) -> None:
        try:
            await self._bench.recorder(scope, self._queue.get, _Daphne().send)
        except BaseException as error:  # out of a task, SystemExit would end the loop
            if not self._ending:
                self._errors.append(error)

    @property
    def events(self) -> tuple[Event, ...]:
        """What passed on its connection so far."""
        name = self._bench.whole.names.get(self._number)
        return tuple(event for event in self._bench.whole if event.connection == name)

    async def does(self, *events: dict[str, Any]) -> None:
        """Send these events, each when the one before is dealt with, by all clients' applications.

        Raises Crashed if this client's application raises, Misconception if one does not react.
        """
        for event in events:
            await self.starts(event)
            try:
                await settling.dealt_with(self._bench.recorder, self._number, self._events, self._bench.layers.idle)
            except TimeLimit:
                raise stuck(event["type"], self._bench.recorder) from None
            self.raise_crash()

    def raise_crash(self) -> None:
        """Raise Crashed if its application has raised."""
        if self._errors:
            raise Crashed(self._errors[0])

    async def starts(self, event: dict[str, Any]) -> None:
        """Send an event, and do not wait until it is dealt with: another client may do something meanwhile."""
        self._queue.put_nowait(event)
        self._events += 1
        await asyncio.sleep(0)  # the first time, the application has not begun

    @property
    def running(self) -> bool:
        """Whether its application is still there."""
        return not self._task.done()

    async def end(self) -> None:
        """Let nothing of it be left."""
        self._ending = True
        self._task.cancel()
        await asyncio.wait([self._task])


def stuck(after: str, recorder: Any) -> Misconception:
    """An application does not come back, and this is where it waits."""
    return Misconception(
        "waits for something else",
        f"after {after} it neither ended nor asked for the next event within {settling.STEP:g} s",
        "This is where it waits. It should come back to `await receive()`; a consumer, to the end of its method.",
        [line for each in recorder.live.values() for line in awaited_lines(each.running)],
    )


class Bench:
    """Plays clients to an answer, and records what passes.

    trace: since the last `play` began; it convicts the answer if it is wrong. whole: since the check began.
    still_running: whether the application of the last `play` was still there after its last event.
    """

    def __init__(self) -> None:
        self.log = Log()
        self.whole = self.trace = Trace(self.log)
        self.recorder = settling.recording(self.log)
        self.layers = Layers(self.log, here)
        self.joined = 0
        self._clients: list[Client] = []
        self.still_running = False

    @contextlib.asynccontextmanager
    async def join(self, application: Callable, *, path: str = "/", **scope: Any) -> AsyncIterator[Client]:
        """A client that has connected: `async with bench.join(application) as alice`. It is gone at the end.

        scope: what the scope has beside its path, for example `subprotocols=["chat"]`. What the application may send
        before `accept` is what daphne allows. Raises what `Client.does` raises.
        """
        scope = {"query_string": b"", "headers": [], "subprotocols": [], **scope, "type": "websocket", "path": path}
        client = Client(self, application, scope)
        self._clients.append(client)
        try:
            await client.does(CONNECT)
            yield client
        finally:
            await client.end()

    async def rest(self) -> None:
        """Wait until every client's application waits for its next event, and nothing is on its way.

        Raises Crashed if one of them has raised, Misconception if one does not come to rest.
        """
        try:
            await settling.dealt_with(self.recorder, 0, 0, self.layers.idle)
        except TimeLimit:
            raise stuck("the last event", self.recorder) from None
        for client in self._clients:
            client.raise_crash()

    async def play(
        self, application: Callable, *events: dict[str, Any], path: str = "/", **scope: Any
    ) -> tuple[Event, ...]:
        """Play one client to the end, and return what passed: `CONNECT` first, then what it sends, then `LEAVE`."""
        self.trace = trace = Trace(self.log)
        async with self.join(application, path=path, **scope) as client:
            await client.does(*events[1:])
            self.still_running = client.running
        return trace.events

    def own_layers(self) -> contextlib.AbstractContextManager[None]:
        """Inside it there are channel layers of the check's own: the learner's groups hear nothing, the trace does."""
        return self.layers.alone()

    async def parity(self, application: Callable, *events: dict[str, Any], path: str = "/") -> Parity:
        """What a client sees of the answer through a communicator, and on a live server.

        `play` it first: what blocks or crashes there must not come to the live server.
        """
        return await parity(events, checked(application), path=path)


class _Daphne:
    """The server's side of a connection: it raises where daphne raises, so that an answer crashes as it would live."""

    def __init__(self) -> None:
        self._accepted = self._closed = False

    async def send(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if self._closed:
            return  # whatever comes now is dropped
        if kind == "websocket.accept":
            if self._accepted:
                raise AttributeError("'WebSocket' object has no attribute 'handshake_deferred'")
            self._accepted = True
        elif kind == "websocket.send":
            if not self._accepted:
                raise ValueError("Socket has not been accepted, so cannot send over it")
            for key, wanted, method in (("text", str, "encode"), ("bytes", bytes, "decode")):
                if (value := message.get(key)) is not None and not isinstance(value, wanted):
                    raise AttributeError(f"{type(value).__name__!r} object has no attribute {method!r}")
        elif kind == "websocket.close":
            code = message.get("code")
            if self._accepted and code and not (code == 1000 or isinstance(code, int) and 3000 <= code <= 4999):
                raise ValueError(f"invalid close code {code!r} (must be 1000 or from [3000, 4999])")
            self._closed = True


def consumer(answer: Any) -> Callable:
    """The application of an answer that should be a consumer class; raises Misconception if it is something else."""
    if not inspect.isclass(answer):
        found = f"an instance of {type(answer).__name__}" if hasattr(answer, "as_asgi") else f"{answer!r:.40}"
        raise Misconception("not a consumer", f"found {found}", "Hand the class itself to check(), by its name.")
    if not hasattr(answer, "as_asgi"):
        raise Misconception(
            "not a consumer",
            f"the class {answer.__name__} has no as_asgi",
            "Begin with class …(AsyncWebsocketConsumer).",
        )
    return answer.as_asgi()


def sent(events: Iterable[Event]) -> list[Any]:
    """What the application sent, in order: the content of a message, the type of anything else."""
    return [
        (event.message.get("bytes") if event.message.get("text") is None else event.message["text"])
        if event.type == "websocket.send"
        else event.type
        for event in events
        if event.direction == "send"
    ]


def in_order(events: Iterable[Event], *types: str, name: str, step: str) -> None:
    """Hold that events of these types passed in this order, whatever passed between; raises Misconception."""
    passed = [event.type for event in events]
    at = -1
    for before, type in zip((None, *types), types, strict=False):
        if type not in passed:
            raise Misconception(name, f"{type} never passed", step)
        if type not in passed[at + 1 :]:
            raise Misconception(name, f"{type} did not pass after {before}", step)
        at = passed.index(type, at + 1)


PATIENCE = 30.0
"""Seconds, by a clock that nobody waits for, after which a learner's own test hangs."""


@dataclass(frozen=True)
class Ran:
    """What came of one run of a learner's own test.

    error: what it raised, or None. trace: what passed. seconds: how long it took, by `own_time`.
    ends: of each application that it began, when it returned: "ended", "cancelled" or "running".
    """

    error: BaseException | None
    trace: Trace
    seconds: float
    ends: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether the test says that the application is wrong; the other errors say that the test is."""
        kinds = AssertionError | TimeoutError | asyncio.CancelledError
        return isinstance(self.error, kinds) or _of_pytest(self.error)


def _of_pytest(error: BaseException | None) -> bool:
    """Whether it is what `pytest.fail` and `pytest.raises` raise, which is no Exception."""
    return any(base.__module__.startswith("_pytest.") for base in type(error).__mro__)


async def ran(test: Callable[[Callable], Awaitable[None]], application: Callable) -> Ran:
    """Run a learner's own `async def test(application)`, with a channel layer and a time of its own.

    Nothing of it is left: what it has begun is cancelled. It never raises for what the test does.
    """
    from channels.layers import InMemoryChannelLayer, channel_layers

    log, served = Log(), []
    trace, recorder = Trace(log), settling.recording(log)
    recorder.swap(application)

    async def recorded(scope: dict, receive: Callable, send: Callable) -> None:
        served.append(asyncio.current_task())
        await recorder(scope, receive, send)

    layer = RecordedLayer(InMemoryChannelLayer(), log, here)
    before, loop = asyncio.all_tasks(), asyncio.get_running_loop()
    with patch.dict(channel_layers.backends, {"default": layer}, clear=True), own_time():
        begun = loop.time()
        error = await _raised(test, recorded)
        seconds = loop.time() - begun
        ends = tuple("cancelled" if each.cancelled() else "ended" if each.done() else "running" for each in served)
        left = asyncio.all_tasks() - before
        for task in left:
            task.cancel()
        await asyncio.gather(*left, *served, return_exceptions=True)
    return Ran(error, trace, seconds, ends)


async def _raised(test: Callable, application: Callable) -> BaseException | None:
    try:
        async with asyncio.timeout(PATIENCE):
            await test(application)
    except BaseException as error:
        if (task := asyncio.current_task()) and task.cancelling():
            raise
        if isinstance(error, Exception | SystemExit | asyncio.CancelledError) or _of_pytest(error):
            return error  # a communicator that timed out cancels itself
        raise
    return None


@contextlib.contextmanager
def own_time() -> Iterator[None]:
    """Inside it the running loop's time stands still while anything can run, and then leaps to the next timer.

    So a time-out or a sleep costs nothing, and no slow machine makes a difference. `receive_nothing` of asgiref's
    communicators, which asks another clock, asks this one. While a thread works for the loop, no time passes.
    """
    loop = asyncio.get_running_loop()
    selector, now, threads = loop._selector, loop.time(), set()  # type: ignore[attr-defined]
    select, run = selector.select, loop.run_in_executor

    def leap(timeout: float | None) -> Any:
        nonlocal now
        if not timeout or threads:
            return select(timeout)
        if not (events := select(0)):
            now += timeout
        return events

    def in_thread(*arguments: Any) -> Any:
        threads.add(future := run(*arguments))
        future.add_done_callback(threads.discard)
        return future

    def clock() -> float:
        return now

    testing = SimpleNamespace(monotonic=clock)
    with (
        patch.multiple(loop, time=clock, run_in_executor=in_thread),
        patch.object(selector, "select", leap),
        patch("asgiref.testing.time", testing),
    ):
        yield


async def caught(
    test: Callable[[Callable], Awaitable[None]], right: Callable, bugs: Mapping[str, Callable]
) -> set[str]:
    """Which planted bugs a learner's own test catches: the names of the applications that it fails on.

    test: `async def test(application)`, which raises if the application is wrong. right: an application on which it
    must pass. bugs: wrong applications, by name. Each run has a channel layer and a time of its own: see `ran`.
    Raises Misconception if the test fails on the right one, Crashed if it raises anything else there.
    """
    passes(await ran(test, right))
    return {name for name, application in bugs.items() if (await ran(test, application)).error is not None}


def passes(run: Ran) -> None:
    """Hold that a test has passed, on an application that is right; raises what `caught` raises."""
    if run.error is None:
        return
    if not run.failed:
        raise Crashed(run.error)
    raise Misconception(
        "fails on a right application",
        f"the test raised {type(run.error).__name__}: {run.error}".rstrip(": "),
        "Run your test on an application that works, and mend the test first.",
        own_lines(run.error),
    )
