"""What lesson 03 shows holds on the live server, and its consumers run in a project of their own."""

import ast
import asyncio
import json
import os
import re
import subprocess
import sys
import threading

import nbformat
import pytest
import websockets
from websockets.exceptions import InvalidStatus

from labserver.project import demo

from .conftest import NOTEBOOKS

LESSON = "03_consumers"
LIMIT = 30
"""Seconds for anything that another process has to do."""

WORK = ("setup", "echo", "printing-echo", "work", "two-clients")
USERS = ("setup", "echo", "talk", "printing-echo", "users")
COUNTDOWN = ("setup", "echo", "printing-echo", "work", "countdown", "tidy", "careful")
CLUB = ("setup", "echo", "club", "knock", "club-mended")


def steps(trace):
    """The texts that passed, in order: who, and what; `in` for a message that the server received."""
    return [
        f"{event.connection} {event.message['text'] if event.direction == 'send' else 'in'}"
        for event in trace
        if event.type in ("websocket.receive", "websocket.send")
    ]


# --- the ladder: by hand, generic, sync, JSON ------------------------------------------------------------------------


async def test_a_consumer_by_hand_sees_the_five_events_of_a_conversation(lesson):
    """A bare AsyncConsumer with a handler for each event accepts, echoes and ends with its client."""
    space = await lesson(LESSON, "setup", "echo", "talk")

    trace = await space.talk(space.ByHand, "hello")

    names = ("connect", "accept", "receive", "send", "disconnect")
    assert [event.type for event in trace] == [f"websocket.{name}" for name in names]
    assert space.server.connections == ()


async def test_text_comes_back_as_text_and_bytes_as_bytes(lesson):
    """The generic consumer accepts by itself, and keeps the kind of each message."""
    space = await lesson(LESSON, "setup", "echo")
    space.server.application = space.Echo.as_asgi()

    async with space.server.connect("/") as ws:
        await ws.send("hello")
        await ws.send(b"\x00\xff")

        assert [await ws.recv(), await ws.recv()] == ["hello", b"\x00\xff"]


async def test_a_sync_consumer_accepts_echoes_and_prints_each_step(lesson, capsys):
    """B1: connect, receive and disconnect of a WebsocketConsumer run, in this order, and each prints."""
    space = await lesson(LESSON, "setup", "printing-echo")
    space.server.application = space.PrintingEcho.as_asgi()
    capsys.readouterr()

    async with space.server.connect("/") as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"

    assert capsys.readouterr().out.splitlines() == ["connect", "receive hello", "disconnect 1000"]


async def test_all_sync_consumers_share_one_thread(lesson):
    """B1: two sync consumers run in one thread, which is neither the event loop's nor the notebook's."""
    space = await lesson(LESSON, "setup", "printing-echo", "printing-echo-talk")

    assert len(space.threads) == 1
    (thread,) = space.threads
    assert thread not in (threading.current_thread(), threading.main_thread())
    assert thread.name != "labserver"


async def test_a_json_consumer_answers_every_member_through_its_group_handler(lesson):
    """C1: receive_json decodes, the group's message runs send_response, and send_json encodes for each member."""
    space = await lesson(LESSON, "setup", "room")
    space.server.application = space.Room.as_asgi()

    async with space.server.connect("/") as alice, space.server.connect("/") as bob:
        await alice.send(json.dumps({"type": "message", "content": "hello"}))

        for ws in (alice, bob):
            assert json.loads(await ws.recv()) == {"type": "response", "content": "hello"}
        assert [connection.groups for connection in space.server.connections] == [("room",), ("room",)]


async def test_a_json_consumer_leaves_its_group_when_its_client_leaves(lesson):
    """C1: disconnect(close_code) of a consumer that ends well takes it out of its group."""
    space = await lesson(LESSON, "setup", "room")
    space.server.application = space.Room.as_asgi()

    with space.server.record() as trace:
        async with space.server.connect("/"):
            pass

    (left,) = [event for event in trace if event.type == "group_discard"]
    assert "by" not in left.message  # the consumer did it, not the lab


# --- who waits for whom ----------------------------------------------------------------------------------------------


async def test_a_slow_sync_consumer_makes_the_other_one_wait(lesson):
    """A blocked sync handler lets the server receive, but the other client's handler begins only after it."""
    space = await lesson(LESSON, *WORK)

    assert steps(await space.two_clients(space.SyncWork, space.SyncWork)) == [
        "ws-1 in",
        "ws-1 begun",
        "ws-2 in",
        "ws-1 done",
        "ws-2 begun",
        "ws-2 done",
    ]


async def test_a_blocking_call_in_an_async_consumer_stops_the_event_loop(lesson):
    """While an async handler blocks, the server does not even receive the other client's message."""
    space = await lesson(LESSON, *WORK)

    assert steps(await space.two_clients(space.BlockingWork, space.BlockingWork)) == [
        "ws-1 in",
        "ws-1 begun",
        "ws-1 done",
        "ws-2 in",
        "ws-2 begun",
        "ws-2 done",
    ]


@pytest.mark.parametrize("consumer", ["AwaitingWork", "ThreadedWork"])
async def test_nobody_waits_for_a_handler_that_awaits(lesson, consumer):
    """An awaited sleep, or a blocking call in a thread of a pool, lets the other client's handler begin at once."""
    space = await lesson(LESSON, *WORK)
    consumer = getattr(space, consumer)

    assert steps(await space.two_clients(consumer, consumer)) == [
        "ws-1 in",
        "ws-1 begun",
        "ws-2 in",
        "ws-2 begun",
        "ws-2 done",
        "ws-1 done",
    ]


async def test_a_slow_sync_consumer_holds_up_async_ones_too(lesson):
    """Before an async handler Channels uses the thread of the sync consumers, so it waits for a slow one."""
    space = await lesson(LESSON, *WORK)

    trace = steps(await space.two_clients(space.SyncWork, space.AwaitingWork))

    assert trace.index("ws-2 in") < trace.index("ws-1 done") < trace.index("ws-2 begun")


async def test_a_consumer_handles_one_event_at_a_time(lesson):
    """The second message of a client waits for the handler of its first; another client's message does not."""
    space = await lesson(LESSON, *WORK, "one-at-a-time")

    assert steps(space.trace) == [
        "ws-1 in",
        "ws-1 begun",
        "ws-2 in",
        "ws-2 begun",
        "ws-2 done",
        "ws-1 done",
        "ws-1 in",
        "ws-1 begun",
        "ws-1 done",
    ]


# --- the ORM ---------------------------------------------------------------------------------------------------------


async def test_only_the_sync_consumer_may_use_the_orm_directly(lesson, capsys):
    """Sync: an answer. In async code a direct query, a lazy queryset and async_to_sync each end in 1011."""
    space = await lesson(LESSON, *USERS)
    demo.create_users()
    outcomes = {}
    for consumer in (space.SyncUsers, space.DirectUsers, space.LazyUsers, space.BridgedUsers):
        capsys.readouterr()
        await space.talk(consumer, "who?")
        outcomes[consumer.__name__] = capsys.readouterr()

    assert set(demo.USERS) <= set(outcomes["SyncUsers"].out.removeprefix("reply: ").strip().split(", "))
    for name in ("DirectUsers", "LazyUsers"):
        assert outcomes[name].out == "closed by the server: 1011\n"
        assert "SynchronousOnlyOperation" in outcomes[name].err
    assert outcomes["BridgedUsers"].out == "closed by the server: 1011\n"
    assert "You cannot use AsyncToSync in the same thread as an async event loop" in outcomes["BridgedUsers"].err


@pytest.mark.parametrize("consumer", ["WrappedUsers", "AsyncUsers", "CountedUsers"])
async def test_the_right_ways_to_the_orm_answer(lesson, capsys, consumer):
    """A query wholly inside database_sync_to_async, the async ORM, and async_to_sync in sync code answer."""
    space = await lesson(LESSON, *USERS, "users-mended")
    demo.create_users()
    capsys.readouterr()

    await space.talk(getattr(space, consumer), "who?")

    shown = capsys.readouterr()
    assert re.fullmatch(r"reply: (.*\balice\b.*|\d+ users)\n", shown.out)
    assert shown.err == ""


# --- what clients may send -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", ["hello", "", b"\x00", "[1]", '{"type": "message"}', "[" * 100_000])
async def test_bad_json_kills_the_plain_room_with_1011(lesson, message):
    """What is not JSON, or has another shape, crashes the consumer of C1: 1011, and its disconnect() never runs."""
    space = await lesson(LESSON, "setup", "room")
    space.server.application = space.Room.as_asgi()

    with space.server.record() as trace:
        async with space.server.connect("/") as ws:
            await ws.send(message)
            await ws.wait_closed()

    assert ws.close_code == 1011
    assert "websocket.disconnect" not in [event.type for event in trace]
    (left,) = [event for event in trace if event.type == "group_discard"]
    assert left.message["by"] == "labserver"


@pytest.mark.parametrize("message", ["hello", "", b"\x00", "[1]", '{"type": "message"}', "[" * 100_000])
async def test_the_polite_room_answers_bad_json_and_goes_on(lesson, message):
    """Every bad message gets an error message in answer, and the next good one is served."""
    space = await lesson(LESSON, "setup", "room", "polite")
    space.server.application = space.PoliteRoom.as_asgi()

    async with space.server.connect("/") as ws:
        await ws.send(message)
        assert json.loads(await ws.recv())["type"] == "error"
        await ws.send('{"type": "message", "content": "hello"}')
        assert json.loads(await ws.recv()) == {"type": "response", "content": "hello"}


@pytest.mark.parametrize(
    ("offer", "chosen"), [(["lab.v1", "lab.v2"], "lab.v2"), (["lab.v1"], None), (None, None), (["lab.v2"], "lab.v2")]
)
async def test_a_subprotocol_is_chosen_from_the_offer(lesson, offer, chosen):
    """A consumer that looks at the offer serves every client, with the subprotocol or without one."""
    space = await lesson(LESSON, "setup", "echo", "versions")
    space.server.application = space.Versioned.as_asgi()

    async with space.server.connect("/", subprotocols=offer) as ws:
        assert ws.subprotocol == chosen


async def test_a_subprotocol_that_was_not_offered_gets_no_answer(lesson):
    """Accepting with a subprotocol that the client did not offer raises nowhere, and answers nothing."""
    space = await lesson(LESSON, "setup", "echo", "printing-echo", "work", "versions")

    with pytest.raises(TimeoutError, match="found no answer"):
        await lesson(LESSON, "stubborn")

    assert [event.type for event in space.trace] == ["websocket.connect", "websocket.accept", "websocket.disconnect"]


# --- what goes on after the end --------------------------------------------------------------------------------------


async def test_a_task_that_nobody_cancels_outlives_its_client(lesson):
    """The countdown's task sends on after the client's disconnect."""
    space = await lesson(LESSON, *COUNTDOWN, "countdown-talk")

    types = [event.type for event in space.trace]
    assert types[types.index("websocket.disconnect") :] == ["websocket.disconnect", "websocket.send", "websocket.send"]


async def test_cancelling_in_disconnect_helps_unless_the_consumer_crashes(lesson, capsys):
    """disconnect() cancels the task of a client that leaves; after an exception (1011) it never runs."""
    space = await lesson(LESSON, *COUNTDOWN)
    capsys.readouterr()

    await lesson(LESSON, "tidy-talk")

    assert capsys.readouterr().out.splitlines() == ["3", "the countdown was cancelled"]
    types = [event.type for event in space.trace]
    assert types[types.index("ValueError") :] == ["ValueError"] + 3 * ["websocket.send"]
    assert space.ws.close_code == 1011


async def test_cancelling_in_a_finally_of_call_always_helps(lesson, capsys):
    """The end of __call__ runs for a client that leaves and for a crash: the task is cancelled both times."""
    space = await lesson(LESSON, *COUNTDOWN)
    capsys.readouterr()

    await lesson(LESSON, "careful-talk")

    assert capsys.readouterr().out.splitlines() == ["3", *2 * ["the countdown was cancelled"]]
    assert space.ws.close_code == 1011


async def test_a_method_goes_on_after_close(lesson):
    """Known fault of C: without `return`, a refused guest is announced, joins the group and is accepted after all."""
    space = await lesson(LESSON, *CLUB)

    trace = await space.knock(space.Club)

    guest = [event.type for event in trace if event.connection == "ws-2"]
    assert guest[:5] == ["websocket.connect", "websocket.close", "group_send", "group_add", "websocket.accept"]
    assert ("ws-1", "a member comes in") in [(event.connection, event.message.get("text")) for event in trace]


async def test_a_return_after_close_ends_the_method(lesson):
    """Mended: the guest is refused, and no member hears of it; a member is still admitted."""
    space = await lesson(LESSON, *CLUB)

    trace = await space.knock(space.GuardedClub)

    types = [event.type for event in trace]
    assert types == ["websocket.connect", "websocket.close", "websocket.disconnect", "group_discard"]
    async with space.server.connect("/?member"):
        with pytest.raises(InvalidStatus):
            await space.server.connect("/")


# --- outside the notebook --------------------------------------------------------------------------------------------

PROJECT = {
    "settings.py": """
INSTALLED_APPS = ["daphne", *INSTALLED_APPS]
ASGI_APPLICATION = "mysite.asgi.application"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
""",
    "routing.py": """
from django.urls import path

from . import consumers

websocket_urlpatterns = [
    path(f"ws/{name}/", getattr(consumers, name).as_asgi())
    for name in ("ByHand", "Echo", "PrintingEcho", "WrappedUsers", "CountedUsers", "PoliteRoom", "CarefulCountdown")
]
""",
    "asgi.py": """
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator

from .routing import websocket_urlpatterns

application = ProtocolTypeRouter(
    {
        "http": application,
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))),
    }
)
""",
}
"""What Channels' documentation adds to a fresh project, appended to what `startproject` wrote."""


def project_cells():
    """The cells of the lesson that are project code, in order."""
    cells = nbformat.read(NOTEBOOKS / f"{LESSON}.ipynb", 4).cells
    return [cell for cell in cells if "project" in cell.metadata.get("tags", ())]


def test_every_consumer_stands_in_a_cell_of_project_code():
    """Cells that define consumers are tagged `project`, and import nothing but Python, Django and Channels."""
    cells = [cell for cell in nbformat.read(NOTEBOOKS / f"{LESSON}.ipynb", 4).cells if cell.cell_type == "code"]
    tagged = {cell["id"] for cell in project_cells()}

    assert tagged == {cell["id"] for cell in cells if re.search(r"^class ", cell.source, re.MULTILINE)}
    roots = set()
    for node in ast.walk(ast.parse("\n".join(cell.source for cell in project_cells()))):
        if isinstance(node, ast.ImportFrom):
            roots.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Import):
            roots |= {name.name.partition(".")[0] for name in node.names}
    assert roots <= {"asgiref", "channels", "django"} | sys.stdlib_module_names


def manage(folder, environment, *arguments):
    """Run a command of Django in a project's folder."""
    command = [sys.executable, "-m", "django", *arguments]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=LIMIT)


@pytest.fixture
async def project(tmp_path):
    """The address of a fresh project under daphne whose `consumers.py` is the lesson's project code."""
    outside = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    manage(tmp_path, outside, "startproject", "mysite", ".")
    site = tmp_path / "mysite"
    for name, addition in PROJECT.items():
        with open(site / name, "a", encoding="utf-8") as file:
            file.write(addition)
    code = "\n\n\n".join(cell.source for cell in project_cells())
    (site / "consumers.py").write_text(code + "\n", encoding="utf-8")
    inside = outside | {"DJANGO_SETTINGS_MODULE": "mysite.settings", "PYTHONPATH": str(tmp_path)}
    manage(tmp_path, inside, "migrate", "--verbosity=0")
    manage(tmp_path, inside, "createsuperuser", "--noinput", "--username=alice", "--email=alice@example.com")

    command = [sys.executable, "-m", "daphne", "--bind=127.0.0.1", "--port=0", "mysite.asgi:application"]
    with open(tmp_path / "out", "wb") as out:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, env=inside, stdout=out, stderr=asyncio.subprocess.PIPE
        )
        said = b""
        try:
            async with asyncio.timeout(LIMIT):  # daphne picks a free port, and says which
                while not (found := re.search(rb"Listening on TCP address (127\.0\.0\.1:\d+)", said)):
                    line = await process.stderr.readline()
                    assert line, f"expected daphne to listen, found that it ended:\n{said.decode()}"
                    said += line
            yield found[1].decode()
        finally:
            if process.returncode is None:
                process.terminate()
            async with asyncio.timeout(LIMIT):
                await process.communicate()


async def answer(address, name, *messages):
    """The replies of one consumer of the fresh project to these messages."""
    url = f"ws://{address}/ws/{name}/"
    async with (
        asyncio.timeout(LIMIT),
        websockets.connect(url, origin=f"http://{address}", proxy=None) as ws,
    ):
        replies = []
        for message in messages:
            await ws.send(message)
            replies.append(await ws.recv())
        return replies


async def test_the_project_cells_run_unchanged_in_a_fresh_project_under_daphne(project):
    """`django-admin startproject`, the lesson's project cells as consumers.py, Channels' own wiring: it works."""
    good = '{"type": "message", "content": "hello"}'

    assert await answer(project, "ByHand", "hello") == ["hello"]
    assert await answer(project, "Echo", "hello", b"\x00\xff") == ["hello", b"\x00\xff"]
    assert await answer(project, "PrintingEcho", "hello") == ["hello"]
    assert await answer(project, "WrappedUsers", "who?") == ["alice"]
    assert await answer(project, "CountedUsers", "who?") == ["1 users"]
    assert [json.loads(reply)["type"] for reply in await answer(project, "PoliteRoom", "hello", good)] == [
        "error",
        "response",
    ]
    assert await answer(project, "CarefulCountdown", "0.001") == ["3"]
