"""The exercises of lesson 06, The chat room. Their solutions stand in `solutions/06_chat_room.ipynb`."""

import asyncio
import json
import re
from unittest.mock import patch

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.contrib.auth.models import User

from labserver.course.bench import LEAVE, Crashed, consumer, data, sent, text
from labserver.course.exercise import Misconception, exercise
from labserver.live.recorder import own_lines
from labserver.trace.events import Trace

from .lesson_05 import but, error_of, stays

EVERYBODY = ("everybody hears the error", "Tell the client that caused it, and nobody else: self.send_json(…).")


def decoded(said):
    """A text as JSON; as it is if it is none."""
    try:
        return json.loads(said)
    except (ValueError, RecursionError):
        return said


async def heard(bench, by, event, **clients):
    """Let a client send this; returns the error that its consumer raised or None, and what each client got of it."""
    bench.trace = Trace(bench.log)  # what convicts the answer begins here
    before = {name: len(sent(client.events)) for name, client in clients.items()}
    error = await error_of(by.does(event))
    new = {name: sent(client.events)[before[name] :] for name, client in clients.items()}
    return error, {name: [*map(decoded, each)] for name, each in new.items()}


async def both(one, other):
    await one
    await other


# --- 06.1 ------------------------------------------------------------------------------------------------------------


def _vote(content, type="vote-send"):
    return text(json.dumps({"type": type, "content": content}))


def _inner(**changes):
    return json.dumps({"userId": 7, "why": "good tea"} | changes)


def _good_vote():
    return _vote(_inner())["text"]


SHAPE = ("valid JSON of another shape", "A list, a number, null and {} are JSON too. Look at the shape, then use it.")
CONTENT = ("the content taken for an object", "content is a text. What is in it, you get by decoding it once more.")
NUMBER = ("what looks like a number", "For Python True is an int, and 1.0 == 1. Look at the type itself: type(…).")
NO_END, INNER = "an error need not end the connection", "what is in content may be bad too"
DEEP = ("nested too deep", "json.loads raises RecursionError, and that is no ValueError. Catch it for both texts.")
TYPE = ("the outer type is not looked at", "Take the message only if its type is vote-send.")
CHOSEN = (
    "a client chooses the layer's type",
    "The layer's type chooses a method of yours. Write it yourself, after all that comes from the client: vote.new.",
)
BAD = (
    (text("hello"), "bad JSON ends the connection", "json.loads raises ValueError. Catch it, and tell the sender."),
    (text(""), "an empty text is a message too", "An empty text is no JSON: tell the sender so."),
    (data(b"\x00\xff"), "bytes are messages too", "For bytes text_data is None, which json.loads does not take."),
    (data(_good_vote().encode()), "bytes taken for a vote", "Bytes are never a vote: look at text_data alone."),
    (text("[]"), *SHAPE),
    (text("7"), *SHAPE),
    (text('{"type": "vote-send"}'), *SHAPE),
    (_vote(None), *SHAPE),
    (_vote({"userId": 7, "why": "good tea"}), *CONTENT),
    (_vote("hello"), INNER, "The second json.loads needs the same care as the first."),
    (_vote("[]"), *SHAPE),
    (_vote('{"why": "good tea"}'), *SHAPE),
    (_vote('{"userId": 7}'), *SHAPE),
    (_vote(_inner(why=5)), "why need not be a text", "It may be a number or null: look at its type, then strip it."),
    (_vote(_inner(why=" \n ")), "a blank text let through", "Strip it first. What is left may be empty."),
    (_vote(_inner(userId=True)), *NUMBER),
    (_vote(_inner(userId=1.0)), *NUMBER),
    (_vote(_inner(userId="7")), *NUMBER),
    (_vote(_inner(userId=None)), *NUMBER),
    (_vote(_inner(userId=0)), "a number of no user", "Users are counted from 1 on."),
    (_vote(_inner(), "vote.new"), *TYPE),
    (_vote(_inner(), None), *TYPE),
    (text("[" * 100_000), *DEEP),
    (_vote("[" * 100_000), *DEEP),
)
"""What is answered with an error; what it means if it is not, and what to do."""


@exercise(
    "06.1",
    title="A vote is JSON in JSON",
    goal="Pass each good vote on to everybody, and answer everything else with one error to its sender.",
    minutes=10,
    hints=(
        "Section 6 of the lesson: what may be wrong with the outer text, with the inner one, and with each value?",
        "One function reads: it returns user and reason, or raises ValueError. It decodes, looks at the shape, then "
        "decodes content in the same way.",
        "A deep nesting raises RecursionError. For the shape: case {'type': 'vote-send', 'content': str(content)}. "
        "For the number: type(user_id) is int.",
    ),
)
async def votes(answer, bench):
    application = consumer(answer)
    async with bench.join(application) as alice, bench.join(application) as bob:
        stays(alice)
        clients = {"alice": alice, "bob": bob}
        _pong(*await heard(bench, alice, text("ping"), **clients), sent(alice.events)[-1])
        await _good(bench, alice, clients)
        for event, name, step in BAD:
            _refused(*await heard(bench, alice, event, **clients), _shown(event), name, step)
        error, _ = await heard(bench, alice, _vote(_inner(type="vote.reset")), **clients)
        _more_keys(error)


def _more_keys(error):
    if error is not None:
        found = f"the inner JSON of a vote had one more key, 'type': 'vote.reset', and it raised {error!r}"
        more = ("a client may send more keys", "Take the keys that you need by their names, and no others.")
        name, step = CHOSEN if "vote.reset" in str(error) else more
        raise Misconception(name, found, step, own_lines(error))


def _shown(event):
    """A bad message, in short; of one with a content both halves."""
    match decoded(event.get("text", "")):
        case {"type": type, "content": content}:
            shown = f"the type {type!r} with the content {content!r}"
        case _:
            shown = repr(event.get("text", event.get("bytes")))
    return shown[:90] + "…" * (len(shown) > 90)


def _pong(error, got, last):
    is_error = any(_opened(each)[0] == "error" for each in got["alice"])
    if is_error or error is not None:
        found = f"for the text ping it raised {type(error).__name__}" if error else "it answered ping with an error"
        step = "ping is no JSON: look for it first, before you decode anything."
        known = is_error or isinstance(error, ValueError)
        raise Misconception("ping is no JSON", found, step) if known else Crashed(error)
    if last != "pong" or got != {"alice": ["pong"], "bob": []}:
        found = f"alice sent ping; the last that she got is {last!r}, and bob got {got['bob']}"
        step = 'Send the four letters as they are, to this client alone: self.send(text_data="pong").'
        raise Misconception("another pong", found, step)


async def _good(bench, alice, clients):
    """Hold that a good vote reaches everybody."""
    error, got = await heard(bench, alice, _vote(_inner(why=" good tea ")), **clients)
    if error is not None:
        name, step = CHOSEN if "vote-send" in str(error) else CONTENT
        known = re.search("vote-send|string indices|'str' object has no attribute", str(error))
        found = f"a good vote came, and it raised {type(error).__name__}: {error}"
        raise Misconception(name, found, step, own_lines(error)) if known else Crashed(error)
    mine, other = ([_opened(each) for each in got[name]] for name in clients)
    want = [("vote-receive", {"userId": 7, "why": "good tea"})]
    if mine == other == want:
        return
    found = f"a good vote came; alice, who sent it, got {got['alice']}, and bob got {got['bob']}"
    name, step = "another vote", "Send vote.new with its three keys to the group, once, and leave vote_new alone."
    if mine == want and not other:
        name, step = "tells the sender alone", "Send it to the group: channel_layer.group_send('votes', …)."
    elif not mine and not other:
        name, step = "the vote goes to nobody", "Send it to the group: await self.channel_layer.group_send('votes', …)."
    elif mine == other == [("vote-receive", {"userId": 7, "why": " good tea "})]:
        name, step = "the spaces stay", "Strip the reason before you pass it on."
    elif mine and mine[0][0] == "error":
        _, got = await heard(bench, alice, _vote({"userId": 7, "why": "good tea"}), **clients)
        opened = [_opened(each)[0] for each in got["bob"]]
        wanted = "Take userId 7 with why ' good tea ', in JSON in JSON: which of your conditions does it not meet?"
        name, step = CONTENT if "vote-receive" in opened else ("refuses a good vote", wanted)
    raise Misconception(name, found, step)


def _opened(message):
    """The type of a message, and its content, decoded; ("", message) if it is none."""
    match message:
        case {"type": str(type), "content": str(content)}:
            return type, decoded(content)
    return "", message


def _refused(error, got, shown, name, step):
    """Hold that this was answered with one error, to alice alone."""
    if error is not None:
        found = f"for {shown} it raised {type(error).__name__}, which ends the connection"
        slip = isinstance(error, NameError)  # no misunderstanding
        raise Crashed(error) if slip else Misconception(name, found, step, own_lines(error))
    mine, other = ([_opened(each)[0] for each in got[who]] for who in ("alice", "bob"))
    if "vote-receive" in mine + other:
        raise Misconception(name, f"for {shown} it passed a vote on: bob got {got['bob']}", step)
    if other:
        raise Misconception(EVERYBODY[0], f"alice sent {shown}, and bob got {got['bob']}", EVERYBODY[1])
    found = f"for {shown} it sent {got['alice']}"
    if "websocket.close" in got["alice"]:
        step = "Send the error, and leave the connection open: the next message may be a good one."
        raise Misconception(NO_END, found, step)
    if not mine:
        raise Misconception("no error told", found, 'Send {"type": "error", "content": …} to this client.')
    if mine != ["error"]:
        step = 'One message, one answer: {"type": "error", "content": a text}. Is a `return` missing?'
        raise Misconception("another answer than one error", found, step)


class _Votes(AsyncJsonWebsocketConsumer):
    """Right, but for what a subclass changes."""

    groups = ["votes"]
    caught = Exception
    is_user = staticmethod(lambda user_id: type(user_id) is int and user_id > 0)
    outer = decode = staticmethod(json.loads)
    types = ("vote-send",)

    async def vote_new(self, event):
        await self.send_json({"type": "vote-receive", "content": _inner(userId=event["userId"], why=event["why"])})

    async def receive(self, text_data=None, bytes_data=None, **kwargs):
        if text_data == "ping":
            await self.pong()
        else:
            await self.other(text_data)

    async def votes(self, *either):
        message = next(filter(None, either), None)
        await (self.pong() if message == "ping" else self.other(message))

    async def pong(self):
        await self.send("pong")

    async def other(self, message):
        try:
            outer = self.outer(message)
            inner = self.decode(outer["content"])
            if outer["type"] not in self.types or not self.is_user(inner["userId"]):
                raise ValueError
            event = self.event(outer, inner)
        except self.caught:
            await self.error("no good vote")
        else:
            await self.publish(event)

    def event(self, outer, inner):
        return {"type": "vote.new", "userId": inner["userId"], "why": self.why(inner["why"])}

    def why(self, why):
        if not why.strip():
            raise ValueError
        return why.strip()

    async def publish(self, event):
        await self.channel_layer.group_send("votes", event)

    async def error(self, words):
        await self.send_json({"type": "error", "content": words})

    async def vote_error(self, event):
        await _Votes.error(self, "no good vote")


_error, _SHAPES = _Votes.error, (ValueError, TypeError, KeyError, AttributeError)


for _name, _changes in (
    ("ping is no JSON", {"pong": lambda self: self.other("ping")}),
    ("ping is no JSON", {"pong": lambda self: self.other("ping"), "caught": ()}),
    ("another pong", {"pong": lambda self: self.send_json("pong")}),
    ("bad JSON ends the connection", {"caught": KeyError}),
    ("an empty text is a message too", {"outer": lambda self, text: json.loads(text or "null"), "caught": ValueError}),
    ("bytes are messages too", {"caught": ValueError}),
    ("bytes taken for a vote", {"receive": lambda self, *data, **either: self.votes(*data, *either.values())}),
    (SHAPE[0], {"outer": lambda self, text: json.loads(text or "x"), "caught": (ValueError, RecursionError)}),
    (CONTENT[0], {"decode": lambda self, content: content, "caught": ValueError}),
    (CONTENT[0], {"decode": lambda self, content: content}),
    (CONTENT[0], {"decode": lambda self, inner: inner if isinstance(inner, dict) else json.loads(inner)}),
    ("why need not be a text", {"caught": (ValueError, TypeError, KeyError)}),
    ("why need not be a text", {"why": lambda self, why: str(why).strip()}),
    ("a blank text let through", {"why": lambda self, why: why.strip()}),
    (NUMBER[0], {"is_user": staticmethod(lambda user_id: isinstance(user_id, int) and user_id > 0)}),
    (NUMBER[0], {"is_user": staticmethod(lambda user_id: int(user_id) == user_id and user_id > 0)}),
    (NUMBER[0], {"is_user": staticmethod(lambda user_id: re.fullmatch("[0-9]+", str(user_id)))}),
    ("a number of no user", {"is_user": staticmethod(lambda user_id: type(user_id) is int)}),
    (TYPE[0], {"types": ("vote-send", "vote.new", None)}),
    (DEEP[0], {"caught": _SHAPES}),
    (DEEP[0], {"caught": _SHAPES, "outer": lambda self, text: json.loads("" if text[:9] == "[" * 9 else text)}),
    (CHOSEN[0], {"event": lambda self, outer, inner: inner | {"type": outer["type"], "why": inner["why"].strip()}}),
    (CHOSEN[0], {"event": lambda self, outer, inner: {"type": "vote.new"} | inner | {"why": self.why(inner["why"])}}),
    (EVERYBODY[0], {"error": lambda self, words: self.publish({"type": "vote.error"})}),
    (NO_END, {"error": lambda self, words: both(_error(self, words), self.close(4000))}),
    ("no error told", {"error": lambda self, words: asyncio.sleep(0)}),
    ("another answer than one error", {"error": lambda self, words: both(_error(self, words), _error(self, words))}),
    ("another answer than one error", {"error": lambda self, words: self.send(words)}),
    ("tells the sender alone", {"publish": lambda self, event: self.vote_new(event)}),
    ("the vote goes to nobody", {"publish": lambda self, event: asyncio.sleep(0)}),
    ("the spaces stay", {"why": lambda self, why: why}),
    ("refuses a good vote", {"is_user": staticmethod(lambda user_id: user_id < 4)}),
    ("another vote", {"vote_new": lambda self, event: self.send_json(event)}),
    (INNER, {"caught": _SHAPES[1:], "outer": lambda self, text: json.loads(text) if text and text[0] in "{[7" else []}),
):
    votes.wrong(_name)(but(_Votes, **_changes))


# --- 06.2 ------------------------------------------------------------------------------------------------------------

FLAG = ("single says the wrong thing", "single is true for a message to one user, and false for one to all.")
TO_ALL = ("a single message goes to all", "Send it to the channels in self.entries[number], and not to the group.")
NOBODY = ("nobody's number means everybody", "null, 0 and '' are no users: they mean everybody, as no toUserId does.")
FORM = "Send exactly what the table above names: the three keys of a message, or the one key of an error."


@exercise(
    "06.2",
    title="Who gets told what",
    goal="Send a message to everybody or to all tabs of one user, and tell the sender if nobody is there.",
    minutes=9,
    hints=(
        "Three cases: everybody, somebody who is there, somebody who is not. What does section 4 of the lesson do in "
        "each of them?",
        "A group reaches everybody, channel_layer.send one channel. Both call your handler, so single must stand in "
        "the layer's message.",
        "self.entries.get(to) is None for a number that was never here, and an empty list for who has left: both mean "
        "that nobody is there.",
    ),
)
async def post(answer, bench):
    application, entries = consumer(answer), getattr(answer, "entries", None)
    if not isinstance(entries, dict):
        raise Misconception("without its entries", "the class has no entries", "Begin with class Post(Chat).")

    def comes(number):
        return bench.join(application, user=User(pk=number, username=("alice", "bob", "carol")[number - 1]))

    with patch.dict(entries, clear=True):  # the learner's own are back afterwards
        async with comes(1) as alice, comes(2) as bob, comes(2) as tab, comes(3) as carol:
            clients = {"alice": alice, "bob": bob, "bob's second tab": tab, "carol": carol}
            stays(alice)
            for to in ({}, {"toUserId": None}, {"toUserId": 0}, {"toUserId": ""}):
                said = json.dumps({"text": "hello"} | to)
                _to_all(*await heard(bench, alice, text(said), **clients), f"alice sent {said}", bool(to))
            for by, name in ((alice, "alice"), (bob, "bob")):
                _to_bob(*await heard(bench, by, text('{"text": "hello", "toUserId": 2}'), **clients), name)
            await carol.does(LEAVE)
            for to, who in ((99, "99, who was never here"), (3, "3, who has left")):
                event = text(f'{{"text": "hello", "toUserId": {to}}}')
                _to_nobody(*await heard(bench, alice, event, **clients), f"alice wrote to user {who}")


def _to_all(error, got, what, named):
    if error is not None:
        known = named and isinstance(error, KeyError)
        found = f"{what}, and it raised {type(error).__name__}: {error}"
        raise Misconception(NOBODY[0], found, NOBODY[1]) if known else Crashed(error)
    silent = [name for name, messages in got.items() if not messages]
    if silent or _errors(got["alice"]):
        name, step = "not to everybody", "group_send to 'chat' reaches each client that is connected."
        if silent == ["alice"]:
            name, step = "the sender is left out", "A message to all goes to everybody, and the sender is one of them."
        if named or _errors(got["alice"]):
            name, step = NOBODY
        found = f"{what}, and got {got['alice']}; bob got {got['bob']}, and carol {got['carol']}"
        raise Misconception(name, found, step)
    _message(got, 1, False, what)


def _errors(messages):
    return [each for each in messages if isinstance(each, dict) and "error" in each]


def _message(got, by, single, what):
    """Hold that whoever got something got this message, once."""
    want = {"from": by, "text": "hello", "single": single}
    for name, messages in got.items():
        if messages in ([], [want]):
            continue
        found = f"{what}, and {name} got {messages}"
        if len(messages) > 1:
            raise Misconception("more than once", found, "Each tab gets it once: by the group, or by its channel.")
        if messages == [want | {"single": not single}]:
            raise Misconception(FLAG[0], found, FLAG[1])
        if [each | {"from": by} for each in messages if isinstance(each, dict)] == [want]:
            step = "Your handler runs for the one who gets it. Put the sender's number into the layer's message."
            raise Misconception("another sender", found, step)
        raise Misconception("another form", found, FORM)


def _to_bob(error, got, by):
    what = f"{by} sent a message to user 2, bob"
    name, step = "one tab of several", "An entry is a list of channels, one for each tab: send to each of them."
    if error is not None:
        known = isinstance(error, TypeError)
        found = f"{what}, and it raised {type(error).__name__}: {error}"
        raise Misconception(name, found, step, own_lines(error)) if known else Crashed(error)
    if got["carol"]:
        raise Misconception(TO_ALL[0], f"{what}, and carol got {got['carol']}", TO_ALL[1])
    if copy := got.pop("alice"):
        name, step = "the sender gets a copy", "Send it to bob's channels alone. Her page knows what she has sent."
        if _errors(copy):
            name, step = "who is there is not found", "self.entries has the number 2 for bob, with two channels."
        raise Misconception(name, f"{what}, and alice got {copy}", step)
    tabs = [got["bob"], got["bob's second tab"]]
    if [] in tabs:
        if by == "bob" or not any(tabs):
            name, step = "the message is lost", "Send it to each channel in self.entries[2], whoever wrote it."
        raise Misconception(name, f"{what}; his tabs got {tabs[0]} and {tabs[1]}", step)
    _message(got, {"alice": 1, "bob": 2}[by], True, what)


def _to_nobody(error, got, what):
    if error is not None:
        found = f"{what}, and it raised {type(error).__name__}: {error}; now she is not connected any more"
        step = "Look whether there is such an entry: self.entries.get(number)."
        known = isinstance(error, LookupError)
        raise Misconception("an unknown recipient ends the connection", found, step) if known else Crashed(error)
    mine, others = got["alice"], got["bob"] + got["bob's second tab"]
    if _errors(others):
        raise Misconception(EVERYBODY[0], f"{what}, and bob got {others[0]}", EVERYBODY[1])
    if others:
        raise Misconception(
            TO_ALL[0], f"{what}, and bob got {others[0]}", "Nobody is there: tell the sender, and stop."
        )
    if not mine:
        step = "No entry, or no channel in it: nobody will read this message. Send the sender an error."
        raise Misconception("dropped without a word", f"{what}, and got no answer", step)
    match mine:
        case [{"error": str(_), **more}] if not more:
            return
    raise Misconception("another form", f"{what}, and got {mine}", f"{FORM} One error is enough.")


class _Post(AsyncJsonWebsocketConsumer):
    """Right, but for what a subclass changes."""

    groups, entries = ["chat"], {}
    is_for_all = staticmethod(lambda to: to in (None, 0, ""))
    single = staticmethod(lambda to: to not in (None, 0, ""))

    async def connect(self):
        self.user_id = self.scope["user"].pk
        self.entries.setdefault(self.user_id, []).append(self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        self.entries[self.user_id].remove(self.channel_name)

    async def receive_json(self, content):
        to = content.get("toUserId")
        event = {"type": "chat.message", "from": self.user_id, "text": content["text"], "single": self.single(to)}
        if self.is_for_all(to):
            await self.to_all(event)
        elif channels := self.channels(to):
            await self.to_one(channels, event)
        else:
            await self.nobody()

    def channels(self, to):
        return self.entries.get(to)

    async def to_all(self, event):
        await self.channel_layer.group_send("chat", event)

    async def to_one(self, channels, event):
        for channel in channels:
            await self.channel_layer.send(channel, event)

    async def nobody(self, event=None):
        await self.send_json({"error": "not connected"})

    chat_error = nobody

    async def chat_message(self, event):
        await self.send_json({key: event[key] for key in ("from", "text", "single")})

    async def others(self, event):
        channels = sum(self.entries.values(), [])
        await self.to_one([each for each in channels if each != self.channel_name], event)


for _name, _changes in (
    (TO_ALL[0], {"to_one": lambda self, channels, event: self.to_all(event)}),
    (TO_ALL[0], {"channels": lambda self, to: self.entries.get(to) or sum(self.entries.values(), [])}),
    ("the sender gets a copy", {"channels": lambda self, to: [*self.entries.get(to, ()), self.channel_name]}),
    ("the message is lost", {"to_one": lambda self, channels, event: asyncio.sleep(0)}),
    ("one tab of several", {"to_one": lambda self, channels, event: self.channel_layer.send(channels[0], event)}),
    ("one tab of several", {"to_one": lambda self, channels, event: self.channel_layer.send(channels, event)}),
    ("who is there is not found", {"channels": lambda self, to: self.entries.get(str(to))}),
    (NOBODY[0], {"is_for_all": staticmethod(lambda to: to is None)}),
    (NOBODY[0], {"is_for_all": staticmethod(lambda to: to is None), "nobody": lambda self: asyncio.sleep(0)}),
    (NOBODY[0], {"is_for_all": staticmethod(lambda to: to is None), "channels": lambda self, to: self.entries[to]}),
    ("dropped without a word", {"nobody": lambda self: asyncio.sleep(0)}),
    ("dropped without a word", {"channels": lambda self, to: self.entries.get(to) or ["gone"][: to < 99]}),
    ("an unknown recipient ends the connection", {"channels": lambda self, to: self.entries[to]}),
    (EVERYBODY[0], {"nobody": lambda self: self.to_all({"type": "chat.error"})}),
    (FLAG[0], {"single": staticmethod(lambda to: False)}),
    (FLAG[0], {"single": staticmethod(lambda to: to is not None)}),
    ("the sender is left out", {"to_all": _Post.others}),
    ("not to everybody", {"to_all": lambda self, event: self.chat_message(event)}),
    ("more than once", {"chat_message": lambda self, event: both(*(_Post.chat_message(self, event) for _ in "12"))}),
    ("another form", {"nobody": lambda self: self.send("not connected")}),
    ("another form", {"chat_message": lambda self, event: self.send_json(event)}),
    ("another sender", {"chat_message": lambda self, event: _Post.chat_message(self, event | {"from": self.user_id})}),
    ("without its entries", {"entries": None}),
):
    post.wrong(_name)(but(_Post, **_changes))
