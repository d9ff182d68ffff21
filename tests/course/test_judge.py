"""Answers are judged: whatever they do ends in a result."""

import asyncio
import gc
import sys
import threading
import types

import pytest
from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from labserver.course import judge as module
from labserver.course.bench import Bench
from labserver.course.exercise import Misconception, exercise
from labserver.course.judge import judge
from labserver.live import settling

CONNECT = {"type": "websocket.connect"}


@exercise("99.1", title="t", goal="g", minutes=1, hints=("h",))
async def accepts(answer, bench):
    """The answer has to accept."""
    events = await bench.play(answer, CONNECT)
    if "websocket.accept" not in [event.type for event in events]:
        raise Misconception("forgot accept", "nothing was accepted", "Accept.")


def run(answer):
    """Judge an answer to the exercise above."""
    return judge(accepts, answer)


async def right(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


def test_a_right_answer_passes():
    """An answer that does what is asked has passed, and there is nothing else to say."""
    result = run(right)
    assert str(result) == "✓ 99.1 passed" and repr(result) == str(result)
    assert result._repr_mimebundle_() == {"text/plain": "✓ 99.1 passed", "text/html": "<p><b>✓ 99.1 passed</b></p>"}


def test_a_check_may_show_what_it_found_in_a_right_answer():
    """What a check returns stands below a pass, line by line."""

    @exercise("99.2", title="t", goal="g", minutes=1, hints=("h",))
    async def counts(answer, bench):
        return (f"{number} caught" for number in (1, 2))

    assert str(judge(counts, right)).splitlines() == ["✓ 99.2 passed", "1 caught", "2 caught"]


def test_a_wrong_answer_has_its_misconception_its_trace_and_a_step():
    """A wrong answer is convicted by the trace and told one next step; both forms are the same on every run."""

    async def silent(scope, receive, send):
        await receive()

    results = [run(silent) for _ in range(2)]
    assert results[0].outcome == "wrong" and results[0].name == "forgot accept"
    plain, rich = (results[0]._repr_mimebundle_()[kind] for kind in ("text/plain", "text/html"))
    assert plain.startswith("✗ 99.1 wrong: forgot accept: nothing was accepted\n→ Accept.\n")
    assert "websocket.connect" in plain and "image/svg+xml" in rich and "Accept." in rich
    assert results[0]._repr_mimebundle_() == results[1]._repr_mimebundle_()


def test_a_crash_quotes_no_token():
    """An error's own words are shown without the secret that may stand in them."""

    async def quotes(scope, receive, send):
        raise LookupError("no user for ?token=abc.def.ghi or eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyIjoxfQ.c2ln")

    assert run(quotes).found == "no user for ?token=[redacted] or [redacted]"


def test_a_crash_shows_the_learners_own_lines():
    """An answer that raises is `crashed`, with its own lines and not the lab's, and what it printed."""

    async def crashes(scope, receive, send):
        print("so far")
        raise LookupError("not here")

    result = run(crashes)
    assert (result.outcome, result.name, result.found) == ("crashed", "LookupError", "not here")
    assert [line.split(",")[0] for line in result.lines] == ["  test_judge.py"]
    assert 'raise LookupError("not here")' in str(result) and "it printed: so far" in str(result)


def test_speaking_before_accept_crashes_as_on_daphne():
    """The bench refuses what the server refuses."""

    async def early(scope, receive, send):
        await send({"type": "websocket.send", "text": "x"})

    assert run(early).found == "Socket has not been accepted, so cannot send over it"


async def for_ever(scope, receive, send):
    while True:
        try:
            pass
        except Exception:
            pass


def test_an_endless_loop_is_interrupted(monkeypatch):
    """A loop that never gives way is stopped at the limit, its thread ends, and the next check works."""
    monkeypatch.setattr(module, "LIMIT", 0.2)
    assert run(for_ever).name == "never gives way"
    assert run(right).outcome == "passed"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("check")]


def test_a_blocking_call_is_left_behind(monkeypatch):
    """A call that sleeps outside Python cannot be stopped: the result comes all the same, and the thread ends later."""
    monkeypatch.setattr(module, "LIMIT", 0.2)

    gate = threading.Event()

    async def blocks(scope, receive, send):
        gate.wait()

    assert run(blocks).name == "never gives way"
    (left,) = [thread for thread in threading.enumerate() if thread.name == "check 99.1"]
    gate.set()
    left.join(10)
    assert not left.is_alive()


def test_an_interruption_is_not_heard_of_again(monkeypatch, caplog):
    """Neither the thread for sync code, when it ends, nor a task that nobody awaits prints our own exception."""
    monkeypatch.setattr(module, "LIMIT", 0.2)
    workers = []

    async def busy_task(scope, receive, send):
        await sync_to_async(lambda: workers.append(threading.current_thread()))()
        asyncio.create_task(for_ever(scope, receive, send))
        await receive()
        await receive()

    assert run(busy_task).name == "never gives way"
    gc.collect()  # the task and the pool of threads are gone
    workers[0].join(10)
    assert not workers[0].is_alive() and caplog.text == ""


def test_an_error_in_a_task_of_the_answer_is_heard_of(caplog):
    """What an answer's own task raises, and nobody awaits, is said as asyncio says it."""

    async def task(scope, receive, send):
        asyncio.create_task(crashes())
        await right(scope, receive, send)

    async def crashes():
        raise LookupError("not here")

    assert run(task).outcome == "passed"
    gc.collect()
    assert "Task exception was never retrieved" in caplog.text and "not here" in caplog.text


def test_a_busy_thread_of_sync_code_is_interrupted(monkeypatch):
    """A sync consumer's loop that never ends is stopped at the limit, and its thread ends."""
    monkeypatch.setattr(module, "LIMIT", 0.2)
    workers = []

    def busy():
        workers.append(threading.current_thread())
        while True:
            pass

    async def calls(scope, receive, send):
        await sync_to_async(busy)()

    assert run(calls).name == "never gives way"
    gc.collect()
    workers[0].join(10)
    assert not workers[0].is_alive()


@pytest.mark.parametrize("step", [0, 10])
def test_an_answer_that_waits_for_something_else_is_told(monkeypatch, step):
    """Sleeping instead of receiving is a misconception with the event after which it happened."""
    monkeypatch.setattr(settling, "STEP", 0.1)

    async def dozes(scope, receive, send):
        while True:
            await asyncio.sleep(step)

    result = run(dozes)
    assert result.name == "waits for something else" and "after websocket.connect" in result.found


def test_a_flood_of_output_is_cut():
    """A megabyte of prints is kept to its beginning, with a note of the rest."""

    async def floods(scope, receive, send):
        print("x" * 1_000_000)
        await right(scope, receive, send)

    assert run(floods).output == "x" * 400 + "… (999601 more characters)"


def test_exit_ends_the_answer_alone(monkeypatch):
    """`exit()` is a crash of the answer; in a notebook it is kept from ending the kernel."""
    shell = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))

    async def leaves(scope, receive, send):
        shell.ask_exit()

    assert run(leaves).name == "SystemExit"
    assert not vars(shell)


def test_what_is_no_application_is_wrong():
    """A consumer class without as_asgi(), or no application at all, is said to be just that."""
    for answer in (AsyncWebsocketConsumer, 3):
        assert run(answer).name == "not an ASGI application"


class Stub(AsyncWebsocketConsumer):
    async def connect(self): ...  # your code here


async def stub(scope, receive, send): ...  # your code here


@pytest.mark.parametrize("answer", [..., [...], stub, Stub, Stub.as_asgi()])
def test_an_untouched_stub_is_unattempted(answer):
    """Not begun is not wrong."""
    result = run(answer)
    assert result.outcome == "unattempted" and "your code here" in result.step


def test_a_right_answer_may_keep_the_stub():
    """What works has passed, whatever else stands in it."""

    async def both(scope, receive, send):
        ...  # your code here
        await right(scope, receive, send)

    assert run(both).outcome == "passed"


def test_code_without_a_source_is_no_stub():
    """A function typed into a console has no source to read, and is judged by what it does."""
    names = {}
    exec("async def typed(scope, receive, send): pass", names)
    assert run(names["typed"]).outcome == "wrong"


async def test_the_bench_tells_who_is_still_running():
    """After the last event the bench knows whether the application has returned."""
    bench = Bench()

    async def stays(scope, receive, send):
        while True:
            await receive()

    await bench.play(stays, CONNECT, {"type": "websocket.disconnect", "code": 1000})
    assert bench.still_running
    await bench.play(right, CONNECT, {"type": "websocket.disconnect", "code": 1000})
    assert not bench.still_running
    assert [event.type for event in bench.trace][-2:] == ["websocket.accept", "websocket.disconnect"]


def test_a_check_inside_an_answer_is_refused():
    """A line check(…) that was indented too far would call itself for ever; it is told, and the next check works."""

    async def nested(scope, receive, send):
        run(right)

    result = run(nested)
    assert (result.outcome, result.name) == ("crashed", "ExerciseError")
    assert "found it inside an answer; move it out" in result.found
    assert run(right).outcome == "passed"


def test_what_breaks_the_protocol_does_not_pass():
    """An answer that does what the check asks, and something that ASGI forbids, is told the rule."""

    async def returns(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})

    result = run(returns)
    assert (result.outcome, result.name) == ("wrong", "breaks a rule of the protocol")
    assert "until its connection is closed" in result.found and "Returned" in str(result)


def test_a_result_stays_short():
    """A long error, a deep recursion and a long conversation are cut to what a person can read."""

    async def deep(scope, receive, send):
        await deep(scope, receive, send)

    async def loud(scope, receive, send):
        raise ValueError("x" * 1000)

    async def long(scope, receive, send):
        await receive()
        for _ in range(100):
            await send({"type": "websocket.close"})

    assert len(run(deep).lines) == 6
    assert run(loud).found == "x" * 400 + "…"
    assert len(run(long).trace) == 24


@pytest.mark.parametrize(
    ("error", "step"),
    [
        (TypeError("object NoneType can't be used in 'await' expression"), "is a plain function awaited?"),
        (TypeError("object Lobby can't be used in 'await' expression"), "Lobby.as_asgi()"),
        (ValueError("No handler for message type news.flash"), "_ in the place of each dot"),
        (AttributeError("'list' object has no attribute 'get'"), "The lines of yours that led to it are above"),
        (TypeError("object str can't be used in 'await' expression"), "is a plain function awaited?"),
        (AttributeError("'int' object has no attribute 'encode'"), "wants str under 'text'"),
        (KeyError("text"), "a websocket.disconnect has no text"),
        (ValueError("of one's own"), "The lines of yours that led to it are above"),
    ],
)
def test_a_crash_leads_on(error, step):
    """Errors that are known to puzzle people come with a step; all others point at the learner's own lines."""

    async def crashes(scope, receive, send):
        raise error

    assert step in run(crashes).step


def test_what_is_no_event_is_told_to_be_one():
    """A text handed to `send` crashes in there, and the step says what `send` takes."""

    async def says(scope, receive, send):
        await send("hello")

    assert run(says).step == 'send takes an event: {"type": …}'


def test_a_crash_without_lines_points_at_its_words():
    """Where no line of the learner's led to the error, none is promised."""
    result = run(lambda scope, receive, send: None)
    assert result.lines == () and result.step.startswith("Read the error's own words")
