"""The exercises of lesson 02, Plain Django. Their solutions stand in `solutions/02_plain_django.ipynb`."""

import contextlib
import functools
from urllib.parse import quote, unquote

from django.urls import Resolver404, path, resolve

from labserver.course.bench import CONNECT, LEAVE, Crashed, data, sent, text
from labserver.course.exercise import Misconception, exercise

ACCEPT = {"type": "websocket.accept"}
CLOSE = {"type": "websocket.close"}

# --- 02.1 ------------------------------------------------------------------------------------------------------------

MOVES = {
    "accept": (ACCEPT, "CONNECTED"),
    "send": ({"type": "websocket.send", "text": "tea?"}, "CONNECTED"),
    "close": (CLOSE, "DISCONNECTED"),
}
"""What the application may try: the event, and its state if the table lets the event pass."""

CLIENT = {"websocket.connect": "CONNECTED", "websocket.disconnect": "DISCONNECTED"}
"""The client's state after an event of its own."""

CONVERSATIONS = (
    (
        "one state for both sides",
        "connect → accept",
        "When websocket.connect has come, the client is CONNECTED. The application is CONNECTING until it accepts.",
    ),
    (
        "a refusal needs no accept",
        "connect → close",
        "An application that refuses a client closes instead of accepting. In which state is it then?",
    ),
    ("a move is missing", "connect accept → send", "Keep the first row: both sides are CONNECTED."),
    ("a move is missing", "connect accept → close", "An application can also end an open WebSocket."),
    (
        "the client asks first",
        "✗ accept send close",
        "While the client is CONNECTING nobody has asked for anything. Remove the rows that begin so.",
    ),
    ("nothing is sent before accept", "connect ✗ send", "The application is still CONNECTING. It accepts first."),
    ("a client is accepted once", "connect accept ✗ accept", "When the application is CONNECTED, it has accepted."),
    ("close is the last event", "connect accept close ✗ accept send close", "After its close it says nothing more."),
    ("close is the last event", "connect close ✗ accept send close", "A refusal is the end: nothing follows it."),
    (
        "nobody is there any more",
        "connect accept disconnect ✗ accept send close",
        "After websocket.disconnect the client is DISCONNECTED, and nothing can reach it.",
    ),
    (
        "nobody is there any more",
        "connect disconnect ✗ accept send close",
        "The client did not wait to be accepted. Nobody is there to get an answer.",
    ),
    (
        "nobody is there any more",
        "connect accept close disconnect ✗ accept send close",
        "Both sides are DISCONNECTED. It is over.",
    ),
)
"""Misconception; what happens in order, then after → what has to pass, after ✗ what must not; and what to do next. What
happens before the sign is right, or judged by a conversation above."""


@exercise(
    "02.1",
    title="One table for both sides",
    goal="List every move of the application, each with the states of both sides in which it is allowed.",
    minutes=7,
    hints=(
        "Go through the application's three states. In each one ask: what may it send now, if the client is there?",
        "In which state is the client when the application accepts? Its websocket.connect has been received by then.",
        "Three rows are missing: accept, close instead of accept, close after accept. The client is CONNECTED in all.",
    ),
)
async def table(answer, bench):
    rows = [_row(each) for each in (answer if isinstance(answer, (list, tuple, set)) else [answer])]
    listed = {row[2] for row in rows}
    if others := listed - set(MOVES):
        raise Misconception(
            "an event of the client",
            f"a row has {min(others)!r:.40}, which no application sends",
            "The table is of what the application sends: accept, send and close.",
        )
    for name, before, sign, move, step in _tries():
        states = {}
        application = _keeping(rows, [*before, move], states)
        if await _events_sent(application) == sum(each in MOVES for each in before) + (sign == "→"):
            continue
        with contextlib.suppress(Crashed):  # as daphne does, for some of these moves
            await bench.play(application, CONNECT, LEAVE)  # once more, for the picture: of this conversation alone
        raise Misconception(
            name if move in listed else "a move is missing",
            f"with the client {states['client']} and the application {states['application']} your table "
            f"{'refuses' if sign == '→' else 'allows'} websocket.{move}",
            step,
        )
    if never := [row for row in rows if row[0] == "CONNECTING"]:
        raise Misconception(
            "the client asks first",
            f"the row {never[0]} never comes into use: an application cannot get so far while the client is CONNECTING",
            "The application moves when websocket.connect has come, and then the client is CONNECTED.",
        )


async def _events_sent(application):
    """How many events an application sends while a client connects and leaves."""
    coming, went = [CONNECT, LEAVE], []

    async def receive():
        return coming.pop(0)

    async def send(event):
        went.append(event)

    await application({}, receive, send)
    return len(went)


def _tries():
    """Each conversation up to one move that is judged."""
    for name, said, step in CONVERSATIONS:
        sign = "→" if "→" in said else "✗"
        before, _, last = said.partition(sign)
        for move in last.split():
            yield name, before.split(), sign, move, step


def _row(row):
    if not isinstance(row, (list, tuple)) or len(row) != 3:
        raise Misconception(
            "not a row",
            f"found {row!r:.60}",
            "Write a list of rows, each with three words in brackets: client, application, event.",
        )
    client, application, event = (getattr(each, "name", each) for each in row)  # the lesson's states have a name
    return client, application, str(event).removeprefix("websocket.")


def _keeping(rows, moves, states):
    """An application that does what the table lets it do, and notes the states before its last try."""

    async def application(scope, receive, send):
        client = own = "CONNECTING"
        for move in moves:
            states.update(client=client, application=own)
            if move not in MOVES:
                client = CLIENT[(await receive())["type"]]
            elif (client, own, move) in rows:
                event, own = MOVES[move]
                with contextlib.suppress(ValueError):  # what the server says to a mistake
                    await send(event)
        while client != "DISCONNECTED":
            client = CLIENT[(await receive())["type"]]

    return application


_RIGHT = [
    ("CONNECTED", "CONNECTING", "websocket.accept"),
    ("CONNECTED", "CONNECTING", "websocket.close"),
    ("CONNECTED", "CONNECTED", "websocket.send"),
    ("CONNECTED", "CONNECTED", "websocket.close"),
]

table.wrong("one state for both sides")([("CONNECTING", "CONNECTING", "accept"), *_RIGHT[1:]])
table.wrong("a refusal needs no accept")([_RIGHT[0], *_RIGHT[2:]])
table.wrong("a move is missing")([_RIGHT[2]])
table.wrong("a move is missing")([*_RIGHT[:2], _RIGHT[3]])
table.wrong("a move is missing")(_RIGHT[:3])
table.wrong("the client asks first")([*_RIGHT, ("CONNECTING", "CONNECTING", "websocket.accept")])
table.wrong("the client asks first")([*_RIGHT, ("CONNECTING", "CONNECTED", "websocket.send")])
table.wrong("nothing is sent before accept")([*_RIGHT, ("CONNECTED", "CONNECTING", "websocket.send")])
table.wrong("a client is accepted once")([*_RIGHT, ("CONNECTED", "CONNECTED", "websocket.accept")])
table.wrong("close is the last event")([*_RIGHT, ("CONNECTED", "DISCONNECTED", "websocket.send")])
table.wrong("nobody is there any more")([*_RIGHT, ("DISCONNECTED", "CONNECTED", "websocket.send")])
table.wrong("nobody is there any more")([*_RIGHT, ("DISCONNECTED", "CONNECTED", "websocket.close")])
table.wrong("nobody is there any more")([*_RIGHT, ("DISCONNECTED", "CONNECTING", "websocket.close")])
table.wrong("nobody is there any more")([*_RIGHT, ("DISCONNECTED", "DISCONNECTED", "websocket.close")])
table.wrong("an event of the client")([*_RIGHT, ("CONNECTED", "CONNECTED", "websocket.receive")])
table.wrong("not a row")(["websocket.accept", *_RIGHT])
table.wrong("not a row")("websocket.accept")


# --- 02.2 ------------------------------------------------------------------------------------------------------------


@exercise(
    "02.2",
    title="The room with a space",
    goal="Resolve the path of a WebSocket, so that /ws/hello/tea%20room/ leads to the room with the name 'tea room'.",
    minutes=5,
    hints=(
        "The scope holds the path twice: once as bytes and as it stood in the URL, once as text. Which one is decoded?",
        "A server may leave raw_path out. Its text is in another key, with %20 made a space already.",
        "resolve(scope['path'], Urls). Nothing is left to decode.",
    ),
)
async def resolves(answer, bench):
    for room, found, name, step in (
        ("kitchen", "", "another room", "Use match.kwargs as it comes from resolve."),
        (
            "tea room",
            "tea%20room",
            "%20 is still there",
            "raw_path is as it stood in the URL, and decode() only makes text of it. Where is %20 a space already?",
        ),
        (
            "100%25",
            "100%",
            "decoded twice",
            "scope['path'] is decoded by the server. A second time makes another name of a room with a % in it.",
        ),
    ):
        raw_path = f"/ws/hello/{quote(room)}/".encode()
        try:
            events = await bench.play(answer, CONNECT, LEAVE, path=f"/ws/hello/{room}/", raw_path=raw_path)
        except Crashed as crash:
            _convict_unresolved(crash.error, raw_path)
            raise
        if sent(events) != _welcome(room):
            raise Misconception(
                name if sent(events) == _welcome(found) else "another room",
                f"{raw_path.decode()} asks for the room {room!r}, and it sent {sent(events)[1:2]}",
                step,
            )
    try:
        await bench.play(answer, CONNECT, LEAVE, path="/ws/hello/kitchen/")
    except Crashed as crash:
        raise Misconception(
            "raw_path is optional",
            f"under a server that sends no raw_path it raised {type(crash.error).__name__}",
            "The specification promises scope['path'], and it is decoded already.",
        ) from None


def _convict_unresolved(error, raw_path):
    """Raise Misconception if no view was found."""
    if isinstance(error, Resolver404):
        details = error.args[0]  # Django takes the slash off a path that it has tried on patterns
        given = "/" * ("tried" in details) + details["path"]
        raise Misconception(
            "bytes are no path" if given.startswith(("b'", 'b"')) else "no view found",
            f"for {raw_path.decode()} resolve was given {given}, and found no view",
            "Give resolve the decoded text, with the slash at its start, and Urls as second argument.",
        ) from None


def _welcome(room):
    """What the view of the lesson sends."""
    return ["websocket.accept", f"Welcome to the {room}", "websocket.close"]


async def _hello(scope, receive, send, room):
    await receive()
    await send(ACCEPT)
    await send({"type": "websocket.send", "text": f"Welcome to the {room}"})
    await send(CLOSE)


async def _broken(scope, receive, send):
    raise KeyError("user")


class _Urls:
    urlpatterns = [path("ws/hello/<room>/", _hello), path("ws/broken/", _broken)]


def _door(found, urls=_Urls):
    """A door that resolves what `found` makes of the scope."""

    async def door(scope, receive, send):
        match = resolve(found(scope), urls)
        await match.func(scope, receive, send, **match.kwargs)

    return door


resolves.wrong("bytes are no path")(_door(lambda scope: scope["raw_path"]))
resolves.wrong("%20 is still there")(_door(lambda scope: scope["raw_path"].decode()))
resolves.wrong("%20 is still there")(_door(lambda scope: quote(scope["path"])))
resolves.wrong("decoded twice")(_door(lambda scope: unquote(scope["path"])))
resolves.wrong("raw_path is optional")(_door(lambda scope: unquote(scope["raw_path"].decode())))
resolves.wrong("no view found")(_door(lambda scope: scope["path"].strip("/")))
resolves.wrong("no view found")(_door(lambda scope: scope["path"], urls=None))
resolves.wrong("another room")(_door(lambda scope: "/ws/hello/lobby/"))


# --- 02.3 ------------------------------------------------------------------------------------------------------------


@exercise(
    "02.3",
    title="Refuse politely",
    goal="Refuse a WebSocket with an unknown path before it is accepted, and let each view's own error come out.",
    minutes=8,
    hints=(
        "Which line raises for an unknown path, and which one for a view with a bug? Only one of them is to be caught.",
        "Put try around resolve alone, and catch Resolver404. How does an application refuse a client?",
        "`await connection.close()` refuses, and goes on to the next line: what ends a function?",
    ),
)
async def refuses(answer, bench):
    try:
        events = await bench.play(answer, CONNECT, LEAVE, path="/ws/nowhere/")
    except Crashed as crash:
        if "websocket.close" in sent(bench.trace):
            raise Misconception(
                "close() is not return",
                f"it refused the client, went on, and raised {type(crash.error).__name__}",
                "`return` after the close.",
            ) from None
        if isinstance(crash.error, Resolver404):
            raise Misconception(
                "an unknown path is no crash",
                "for /ws/nowhere/ it raised Resolver404, and the client gets HTTP 500",
                "Catch Resolver404 where resolve raises it, and close.",
            ) from None
        raise
    replies = sent(events)
    if not replies:
        raise Misconception(
            "a return is no answer",
            "for /ws/nowhere/ it sent nothing, and the client waits until its time limit",
            "Send websocket.close, then return.",
        )
    if replies[0] == "websocket.accept":
        raise Misconception(
            "accepted to be refused",
            f"for /ws/nowhere/ it sent {replies}, and the client believes that it is in",
            "Close without accept: then the handshake fails with HTTP 403.",
        )
    if replies != ["websocket.close"]:
        raise Misconception(
            "an HTTP answer to a WebSocket" if "http" in replies[0] else "another answer",
            f"for /ws/nowhere/ it sent {replies}",
            "Send websocket.close, once. The server makes a 403 of it.",
        )
    replies = sent(await bench.play(answer, CONNECT, LEAVE, path="/ws/hello/kitchen/"))
    if replies != _welcome("kitchen"):
        raise Misconception(
            "refuses everybody",
            f"for /ws/hello/kitchen/ it sent {replies}",
            "Call the view that resolve has found, with a Connection and match.kwargs.",
        )
    try:
        replies = sent(await bench.play(answer, CONNECT, LEAVE, path="/ws/broken/"))
    except Crashed:
        return
    raise Misconception(
        "hides the bugs of a view",
        f"the view of /ws/broken/ raised KeyError: no log will ever tell, and the client got {replies}",
        "Call the view outside of the try, and catch Resolver404 alone.",
    )


def _refusing(*events, caught=Resolver404):
    """A door that sends these events for an unknown path."""

    async def door(scope, receive, send):
        try:
            await _door(lambda scope: scope["path"])(scope, receive, send)
        except caught:
            for event in events:
                await send(event)

    return door


refuses.wrong("an unknown path is no crash")(_door(lambda scope: scope["path"]))
refuses.wrong("a return is no answer")(_refusing())
refuses.wrong("accepted to be refused")(_refusing(ACCEPT, CLOSE))
refuses.wrong("an HTTP answer to a WebSocket")(_refusing({"type": "http.response.start", "status": 403}))
refuses.wrong("another answer")(_refusing(CLOSE, CLOSE))
refuses.wrong("hides the bugs of a view")(_refusing(CLOSE, caught=Exception))


@refuses.wrong("close() is not return")
async def _goes_on(scope, receive, send):
    match = None
    try:
        match = resolve(scope["path"], _Urls)
    except Resolver404:
        await send(CLOSE)
    await match.func(scope, receive, send, **match.kwargs)


@refuses.wrong("refuses everybody")
async def _shut(scope, receive, send):
    await send(CLOSE)


# --- 02.4 ------------------------------------------------------------------------------------------------------------


@exercise(
    "02.4",
    title="Who is still here?",
    goal="Answer each text with the number of visitors, and forget a visitor whose view ends, in whatever way.",
    minutes=10,
    hints=(
        "A view ends in two ways here: receive_text raises Disconnected, or another error. What runs in both cases?",
        "The line that takes the visitor out belongs into `finally`. Which error is expected, and may end here?",
        "try: with suppress(Disconnected): a loop that receives and sends. finally: visitors.discard(connection).",
    ),
)
async def counts(answer, bench):
    async with bench.join(answer) as alice:
        alone = await _told(alice)
        async with bench.join(answer) as bob:
            both = await _told(alice)
            if both != alone + 1:
                raise Misconception(
                    "does not count everybody",
                    f"alice was told {alone}; then bob came, and she was told {both}",
                    "Send len(visitors), as it is when the text comes.",
                )
            await _leaves(bob)
        after = await _told(alice)
        if after != alone:
            raise Misconception(
                "never counts down",
                f"when bob had left, alice was told {after} instead of {alone}",
                "Take the connection out of visitors when its view ends.",
            )
        async with bench.join(answer) as carol:
            await _sends_bytes(carol)
        after = await _told(alice)
        if after != alone:
            raise Misconception(
                "a crash ends a visit too",
                f"when carol had sent bytes, alice was told {after} instead of {alone}",
                "What must happen in any case belongs into `finally`. Lines after the loop are left out by a crash.",
            )
        await _leaves(alice)
    if alone != 1:
        raise Misconception(
            "somebody is left over",
            f"the first visitor was told {alone}",
            "Run the cell with `visitors = set()` again, and check once more.",
        )


async def _told(client):
    """The number that a client gets for a text."""
    before = len(sent(client.events))
    await client.does(text("How many?"), text(""))
    replies = sent(client.events)[before:]
    if len(replies) != 2 or replies[0] != replies[1] or not str(replies[0]).isdecimal():
        raise Misconception(
            "another reply",
            f"for 'How many?' and an empty text it sent {replies}",
            "Send one text for each, whatever it says, to this visitor alone: str(len(visitors)).",
        )
    return int(replies[0])


async def _leaves(client):
    try:
        await client.does(LEAVE)
    except Crashed as crash:
        misconception = Misconception(
            "leaving is no crash",
            "the client left as clients do, and Disconnected came out of the view",
            "Expect it: `with suppress(Disconnected)` around the loop.",
        )
        raise misconception if type(crash.error).__name__ == "Disconnected" else crash from None
    if client.running:
        raise Misconception(
            "waits after the end",
            "the client is gone, and the view asked for another event, which never comes",
            "Disconnected has to end the loop. Put the loop into the `with` or `try`, not the other way round.",
        )


async def _sends_bytes(client):
    try:
        await client.does(data(b"\x00"))
    except Crashed:
        return
    if client.running:
        return await _leaves(client)  # it lives with bytes: so much the better
    if "websocket.close" not in sent(client.events):
        raise Misconception(
            "hides its own crash",
            "carol sent bytes, and the view returned without a word: her WebSocket stays open, with nobody behind it",
            "Catch Disconnected alone. When any other error comes out, the server closes the WebSocket.",
        )


class Disconnected(Exception):
    """As the lesson has it."""


def _number(event, count):
    event["text"]  # a KeyError for bytes
    return str(count)


def _counting(ending, *visitors, reply=_number, goes_on_after=()):
    """A counter whose loop stands in the context manager `ending`."""
    visitors = list(visitors)

    async def application(scope, receive, send):
        await receive()
        await send(ACCEPT)
        visitors.append(scope)
        with ending(visitors):
            while True:
                with contextlib.suppress(*goes_on_after):
                    event = await receive()
                    if event["type"] == "websocket.disconnect":
                        raise Disconnected
                    await send({"type": "websocket.send", "text": reply(event, len(visitors))})

    return application


@contextlib.contextmanager
def _tidy(visitors):
    try:
        with contextlib.suppress(Disconnected):
            yield
    finally:
        visitors.pop()


@contextlib.contextmanager
def _lets_out(visitors):
    try:
        yield
    finally:
        visitors.pop()


@contextlib.contextmanager
def _then(visitors, caught=Disconnected):
    with contextlib.suppress(caught):
        yield
    visitors.pop()


counts.wrong("another reply")(_counting(_tidy, reply=lambda event, count: event["text"]))
counts.wrong("does not count everybody")(_counting(_tidy, reply=lambda event, count: "1"))
counts.wrong("leaving is no crash")(_counting(_lets_out))
counts.wrong("waits after the end")(_counting(_tidy, goes_on_after=[Disconnected]))
counts.wrong("never counts down")(_counting(lambda visitors: contextlib.suppress(Disconnected)))
counts.wrong("hides its own crash")(_counting(functools.partial(_then, caught=Exception)))
counts.wrong("a crash ends a visit too")(_counting(_then))
counts.wrong("somebody is left over")(_counting(_tidy, "alice", reply=lambda event, count: str(count)))


_untold = _counting(_then)


@counts.wrong("a crash ends a visit too")
async def _closes(scope, receive, send):
    try:
        await _untold(scope, receive, send)
    except KeyError:
        await send(CLOSE)
