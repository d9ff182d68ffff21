"""Runs in a lesson's kernel: makes a test of what each cell has recorded, and runs it, right and with planted bugs.

Used by `test_recordings.py`, which executes this source in the kernel before the lesson's cells, `Probe.begin()` before
and `Probe.end()` after each of them. It prints one line of JSON for each cell that talked to an application.
"""

import inspect
import io
import json
import sys
import types
from contextlib import redirect_stderr, redirect_stdout, suppress

from _pytest.outcomes import Failed
from asgiref.testing import ApplicationCommunicator

from labserver.errors import NotRecorded
from labserver.live import server as live
from labserver.trace import testgen
from labserver.trace.events import Log, Trace

# The tests look hundreds of times whether anything else was sent: what they have not got in this time they never get.
ApplicationCommunicator.receive_nothing.__defaults__ = (0.02, 0.005)

applications = []
_open = Log.open


def _opened(log, scope, served=""):
    if live._server is not None and log is live._server._log:
        application = live._server._recorder.application
        if application not in applications:
            applications.append(application)
        served = f"recorded_applications:number_{applications.index(application)}"
    return _open(log, scope, served)


Log.open = _opened


class Probe:
    """The trace of one cell."""

    @classmethod
    def begin(cls):
        """Before a cell."""
        cls.log = live._server._log if live._server is not None else None
        cls.start = cls.log.total if cls.log else 0

    @classmethod
    async def end(cls, id, play):
        """After a cell."""
        if live._server is None:
            return
        if live._server._daphne is not None:
            await live._server._settled()
        trace = Trace(live._server._log)
        trace._start = cls.start
        trace._stop = live._server._log.total
        if not trace.scopes:
            return
        print(json.dumps({"cell": id} | await judged(trace, play)))


async def judged(trace, play):
    """The tests of a trace; if they are to be played: their errors, and which planted bugs they catch."""
    rows, omitted, names = trace._read()
    hide = testgen.Hidden()
    trace._events(rows, names, hide), trace._scopes(names, omitted, hide)
    secrets = {hide.names[number]: secret for secret, number in hide.places.items()}
    try:
        source = trace.to_test("recorded")
    except NotRecorded as error:
        return {"left out": str(error)}
    if not play:
        return {"source": source}
    lost = {event.connection for event in trace.events if event.type == "NoRoute"}
    seen = {event.type for event in trace.events if event.direction == "send" and event.connection not in lost}
    raised = [event for event in trace.events if event.direction == "error" and event.type != "Returned"]
    seen |= {"error"} if any("by" not in event.message for event in raised) else set()
    bugs = {name: mutant for name, (needs, mutant) in MUTANTS.items() if needs in seen}
    return {
        "source": source,
        "errors": await run(source, lambda application: application, secrets),
        "caught": {name: bool(await run(source, mutant, secrets, first=True)) for name, mutant in bugs.items()},
    }


async def run(source, version, secrets, first=False):
    """The errors of a module's tests, by their names, for one version of the applications; or the first of them."""
    module = types.ModuleType("recorded_applications")
    vars(module).update({f"number_{number}": version(each) for number, each in enumerate(applications)})
    sys.modules[module.__name__] = module
    space = {"__name__": "recorded"}
    errors = {}
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        exec(compile(source, "<recorded test>", "exec"), space)
        for name, test in list(space.items()):
            if name.startswith("test_") and not (first and errors):
                try:
                    await test(**{each: secrets[each] for each in inspect.signature(test).parameters})
                except (Exception, Failed) as error:
                    errors[name] = f"{type(error).__name__}: {error} {_line(error, source)}"
    return errors


def _line(error, source):
    """The line of the test that raised."""
    trace, number = error.__traceback__, 0
    while trace:
        if trace.tb_frame.f_code.co_filename == "<recorded test>":
            number = trace.tb_lineno
        trace = trace.tb_next
    return source.splitlines()[number - 1].strip()


def changed(change):
    """What makes a version of an application that changes each event it sends."""

    def mutant(application):
        async def mutated(scope, receive, send):
            async def sending(event):
                await send(change(dict(event)))

            await application(scope, receive, sending)

        return mutated

    return mutant


def other_text(event):
    """Another text, or other bytes."""
    if event["type"] == "websocket.send":
        key = "bytes" if event.get("text") is None else "text"
        event[key] = (event[key] or event[key].__class__()) + ("!" if key == "text" else b"!")
    return event


def other_code(event):
    """Another close code."""
    return event | {"code": 4998} if event["type"] == "websocket.close" else event


def refuse(event):
    """A refusal in the place of an accept."""
    return {"type": "websocket.close", "code": 4998} if event["type"] == "websocket.accept" else event


def other_status(event):
    """Another status."""
    return event | {"status": 418} if event["type"] == "http.response.start" else event


def calm(application):
    """A version of an application that never raises."""

    async def mutated(scope, receive, send):
        with suppress(Exception):
            await application(scope, receive, send)

    return mutated


MUTANTS = {
    "does not raise": ("error", calm),
    "another text": ("websocket.send", changed(other_text)),
    "another code": ("websocket.close", changed(other_code)),
    "refuses": ("websocket.accept", changed(refuse)),
    "another status": ("http.response.start", changed(other_status)),
}
"""Planted bugs by name: the event that a recording must hold for its test to notice, and what makes the bug."""
