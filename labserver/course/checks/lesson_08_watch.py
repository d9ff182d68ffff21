"""What the exercises of lesson 08 share: a learner's own test is watched, and what came of it is put into words."""

import asyncio
import inspect
from dataclasses import dataclass
from unittest.mock import patch

from asgiref.testing import ApplicationCommunicator

from labserver.course.bench import PATIENCE, Ran, passes, ran
from labserver.course.exercise import Misconception
from labserver.live.recorder import own_lines

TIMEOUT = (
    "a time-out cancels the application",
    "A receive_output that times out ends the consumer. Where nothing should come, ask receive_nothing.",
)
RUNNING = "leaves the communicator running"
CANNOT_FAIL = (
    "cannot fail",
    "Is there an assert for each thing that you want? Does a try around it catch what it raises?",
)


def a_test(answer):
    """Hold that an answer is a test: `async def test_…(application)`."""
    step = "Write `async def test_…(application):`, and hand over its name, without brackets."
    if inspect.iscoroutine(answer):
        answer.close()  # else Python says later that nobody has awaited it
        raise Misconception("not a test", f"found what {answer.__name__}(…) returns: it is called already", step)
    if not inspect.isfunction(answer):
        found = repr(answer) if isinstance(answer, str) else f"an instance of {type(answer).__name__}"
        found = f"the class {answer.__name__}" if inspect.isclass(answer) else found
        raise Misconception("not a test", f"found {found:.60}", step)
    if not inspect.iscoroutinefunction(answer):
        found = f"nothing of {answer.__name__} can be awaited: it is a plain def, or has a yield"
        raise Misconception("not a test", found, "Write `async def`, and no yield.")
    try:
        inspect.signature(answer).bind(None)
    except TypeError:
        found = f"found async def {answer.__name__}{inspect.signature(answer)!s:.60}"
        step = f"A test takes application, and nothing else: `async def {answer.__name__}(application):`."
        raise Misconception("takes no application", found, step) from None


@dataclass(frozen=True)
class Watched(Ran):
    """A run of a test, and what the test asked of its communicators.

    read: the last event that it received, or None. silences: how long it waited for nothing to come, each time, in
    seconds by `own_time`. late: "receive_output" or "wait", for each that ended with a cancelled application.
    """

    read: dict | None
    silences: tuple[float, ...]
    late: tuple[str, ...]


async def watched(test, application) -> Watched:
    """Run a learner's own test; see `bench.ran`."""
    loop, read, silences, late = asyncio.get_running_loop(), [None], [], []
    kind = ApplicationCommunicator
    receive_output, receive_nothing, wait = kind.receive_output, kind.receive_nothing, kind.wait

    async def output(self, *arguments, **options):
        try:
            read[0] = await receive_output(self, *arguments, **options)
        except TimeoutError:
            late.append("receive_output")
            raise
        return read[0]

    async def nothing(self, *arguments, **options):
        begun = loop.time()
        found = await receive_nothing(self, *arguments, **options)
        silences.append(loop.time() - begun)
        return found

    async def end(self, *arguments, **options):
        await wait(self, *arguments, **options)
        late.extend(["wait"] * self.future.cancelled())  # its time was up: it cancels the application without a word

    with patch.multiple(kind, receive_output=output, receive_nothing=nothing, wait=end):
        run = await ran(test, application)
    return Watched(**vars(run), read=read[0], silences=tuple(silences), late=tuple(late))


def named(run):
    """The class of what a test has raised."""
    return type(run.error).__name__


def cancelled(run, found):
    """The misconception of a test whose communicator has cancelled the application, after a call that timed out."""
    if run.late[0] == "receive_output":
        return Misconception(TIMEOUT[0], found, TIMEOUT[1], own_lines(run.error) if run.error else ())
    return Misconception(
        "wait() sends nothing",
        "communicator.wait() cancelled the application after its second: no websocket.disconnect had come",
        "End with await communicator.disconnect(). It sends this event, and then waits.",
        own_lines(run.error) if run.error else (),
    )


def fair(run):
    """Hold that a test has passed, on an application that is right.

    Raises what `bench.passes` raises, and says the last event that the test had read. Raises Misconception under
    another name if the test never ends, if it was stopped by its own time-out, or if it made the application raise.
    """
    crashes = [event for event in run.trace if event.direction == "error"]
    if run.error and named(run) in {event.type for event in crashes}:
        last = [dict(event.message) for event in run.trace if event.direction == "receive"][-1]
        found = f"the application raised {named(run)}: {run.error}. Your test had sent {last!r:.90}"
        step = "No assertion of yours has failed. Send only what the exercise speaks of; is there a slip in a name?"
        raise Misconception("the application cannot take that", found, step)
    if run.late and isinstance(run.error, asyncio.CancelledError):
        raise cancelled(run, "the test went on after a time-out, and raised CancelledError: the consumer was gone")
    if isinstance(run.error, TimeoutError) and run.seconds > PATIENCE - 1:
        found = f"after {PATIENCE:g} s, by a clock of its own, your test was still busy, here"
        step = "Is there a loop around it? What would have to come, for the loop to end?"
        raise Misconception("never ends", found, step, own_lines(run.error))
    try:
        passes(run)
    except Misconception as failed:
        found = f"{failed.found}; the last event that it had read is {run.read!r:.120}" if run.read else failed.found
        raise Misconception(failed.name, found, failed.step, failed.lines) from None


def asked(run):
    """Hold that a test has played a client to the application."""
    if not run.ends:
        step = "Open a WebsocketCommunicator(application, …), with the application that the test is handed."
        raise Misconception("never asks the application", "your test ended, and nobody had connected", step)


def not_cancelled(run):
    """Hold that a test which passes has cancelled nothing by a time-out."""
    if "cancelled" in run.ends and run.late:
        found = "your test passes, but its communicator cancelled the consumer: it never came to its disconnect()"
        raise cancelled(run, found)


def in_peace(run):
    """Hold that each application of a test which passes has had its websocket.disconnect, and has ended."""
    if {*run.ends} - {"ended"}:
        found = "when your test had passed, the consumer was still there, and waited for a websocket.disconnect"
        step = "End with await communicator.disconnect(): a close of the consumer is not the end of its application."
        raise Misconception(RUNNING, found, step)
