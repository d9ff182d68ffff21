"""The body of one generated test: a conversation, line by line.

Room: pure values, called by `testgen`. https://channels.readthedocs.io/en/stable/topics/testing.html
"""

import builtins
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from .conversation import Answer, Step
from .literal import WIDTH, Argument, Writer, cut, escaped, json_of, pattern, raw
from .protocol import AnyEvent, target

_SLOW = 0.5
"""Seconds after which an answer gets more time than a communicator's second."""

_PAGE_LIMIT = 10
"""Seconds for a page: the first of a process loads URLs, templates and the database, and a computer has other work."""

_SHORT = 200
"""Bytes of an HTTP body that a test compares; of a longer one it looks at the beginning of what a person reads."""

_UNSAID = {"connection", "upgrade", "user-agent", "pragma", "cache-control", "dnt", "referer", "content-length"}
_UNSAID |= {"upgrade-insecure-requests", "priority"}
"""Headers that differ between clients, and that hardly any application looks at; with `accept…` and `sec-…`."""

_SAID = {"accept-language", "content-type"}

_PAGE = ("host", "origin", "accept-language")
"""Headers that tell of a page and of who looks at it; they stand once, at the top of a module."""

_BEGIN = 60
"""Characters at the beginning of a long text that a test looks at."""

_CLOSE = "websocket.close"

_INSTALLED = {"site-packages", "dist-packages"}


Import = tuple[str, str]
"""A module, and what is imported from it (`name`, or `name as other`); empty for the module itself."""


@dataclass
class Needs:
    """What the tests of a module need of it.

    scopes: of each connection. applications: the name that stands for the application of each. standard, foreign, own:
    imports of the standard library, of what is installed, and of the project. pages: headers that stand once at the
    top, with their name. The rest: classes of `channels.testing`, and whether the channel layer is called.
    """

    scopes: Mapping[str, Mapping[str, Any]]
    applications: Mapping[str, str]
    standard: set[Import] = field(default_factory=set)
    foreign: set[Import] = field(default_factory=set)
    own: set[Import] = field(default_factory=set)
    testing: set[str] = field(default_factory=set)
    pages: dict[tuple[tuple[bytes, bytes], ...], str] = field(default_factory=dict)
    layer: bool = False

    def page(self, headers: tuple[tuple[bytes, bytes], ...]) -> str:
        """The name of these headers, which stand at the top of the module."""
        return self.pages.setdefault(headers, f"PAGE_{len(self.pages) + 1}" if self.pages else "PAGE")


class Body:
    """Writes the body of one test."""

    def __init__(self, needs: Needs, writer: Writer, part: list[Step]):
        self.needs = needs
        self.write = writer
        self.part = part
        names = sorted({each for step in part for each in step.connections}, key=_in_order)
        sockets = [name for name in names if name.startswith("ws")]
        requests = [name for name in names if not name.startswith("ws")]
        self.names = _variables(sockets, "ws") | _variables(requests, "http")
        self._lines: list[str] = []
        self.open: list[str] = []
        self.over: set[str] = set()
        self.crashed: set[str] = set()  # what their background tasks still send, nobody gets
        self.restless = {answer.event.connection for step in part for answer in step.answers if answer.by_itself}

    def sentence(self) -> str:
        """What the test is about, in a line."""
        paths = list(dict.fromkeys(_path(self.needs.scopes, name) for name in self.names))
        told = [answer.event for step in self.part for answer in step.answers]
        heard = sum(step.cause.type == "websocket.receive" for step in self.part)
        said = sum(event.type == "websocket.send" for event in told)
        who = f"{len(self.names)} clients of " * (len(self.names) > 1) + ", ".join(paths)
        words = [f"{heard} in, {said} out"] if heard or said else []
        words += [f"HTTP {event.message.get('status')}" for event in told if event.type == "http.response.start"]
        words += [f"closed with {event.message.get('code') or 1000}" for event in told if event.type == _CLOSE]
        words += [f"{event.type} is raised" for event in told if event.direction == "error"]
        line = who + ": " * bool(words) + "; ".join(dict.fromkeys(words))
        return f"{line}." if len(line) < WIDTH - 11 else f"{line[: WIDTH - 12]}…"

    def lines(self) -> list[str]:
        """The lines, each with its indentation."""
        for step in self.part:
            self._step(step)
        for name in self.open:
            if name not in self.over:
                self._leave(name, "")
        return self._lines

    def _say(self, line: str) -> None:
        self._lines.append(f"    {line}")

    def _do(self, what: str, *arguments: Argument) -> None:
        """A line that calls something."""
        self._say(self.write.call(what, list(arguments), 4))

    def _expect(self, what: str, value: Any) -> None:
        """A line that asserts that something equals this."""
        self._say(f"assert {what} == {self.write.expected(value, 4, len(what) + 11)}")

    # --- causes --------------------------------------------------------------------------------------------------

    def _step(self, step: Step) -> None:
        cause = step.cause
        if cause.connection == "cell":
            return self._call(step)
        if cause.connection in self.over:
            return None  # it has crashed: nobody is there to be told anything
        match cause.type:
            case "websocket.connect":
                self._connect(step)
            case "websocket.receive":
                self._text(step)
            case "websocket.disconnect":
                self._disconnect(step)
            case "http.request" if cause.connection not in self.open:
                self._request(step)
            case "http.disconnect":
                if cause.connection in self.open:
                    self._leave(cause.connection, "")
                self._answers(step.answers)
            case _:
                self._do(f"await {self.names[cause.connection]}.send_input", self._given(cause.message))
                self._answers(step.answers)
        return None

    def _call(self, step: Step) -> None:
        """A call of the channel layer from outside of any connection."""
        message = step.cause.message
        to = message.get("group", message.get("channel"))
        if step.cause.type == "send" and to in self.needs.scopes:
            self._say(f"# a message to the channel of {to} alone is left out: a test cannot know its name")
            return
        self.needs.layer = True
        call = f"await get_channel_layer().{step.cause.type}"
        self._do(call, self._given(to), self._given(message["message"]))
        self._answers(step.answers)

    def _connect(self, step: Step) -> None:
        name = step.cause.connection
        ws = self.names[name]
        scope = self.needs.scopes.get(name, {})
        self.needs.testing.add("WebsocketCommunicator")
        options = [_as_is(self.needs.applications[name]), self._given(_asked(scope)), *self._headers(scope)]
        if offered := scope.get("subprotocols"):
            options.append(self._given(offered, "subprotocols="))
        self._do(f"{ws} = WebsocketCommunicator", *options)
        self.open.append(name)
        first = next((answer for answer in step.answers if answer.event.connection == name), None)
        if first is None or not _plainly_accepted(first.event):
            self._say(f'await {ws}.send_input({{"type": "websocket.connect"}})')
            self._answers(step.answers)
            return
        chosen = first.event.message.get("subprotocol")
        self._say(f"connected, {'subprotocol' if chosen else '_'} = await {ws}.connect({_patience(first)})")
        self._say("assert connected")
        if chosen:
            self._expect("subprotocol", chosen)
        if headers := first.event.message.get("headers"):
            self._expect(f"dict({ws}.response_headers)", dict(headers))
        self._answers([answer for answer in step.answers if answer is not first])

    def _text(self, step: Step) -> None:
        ws, message = self.names[step.cause.connection], step.cause.message
        text, data = message.get("text"), message.get("bytes")
        if cut([text, data]):
            self._say("# of the next message the recording kept the beginning only")
        if not text and not data:  # the communicator's shortcuts refuse an empty message
            self._do(f"await {ws}.send_input", self._given(message))
        elif (value := _json(text)) is not None and json.dumps(value) == json_of(text):
            self._do(f"await {ws}.send_json_to", self._given(value))
        elif text:
            self._do(f"await {ws}.send_to", self._given(text, "text_data="))
        else:
            self._do(f"await {ws}.send_to", self._given(data, "bytes_data="))
        self._answers(step.answers)

    def _disconnect(self, step: Step) -> None:
        name, code = step.cause.connection, step.cause.message.get("code")
        mine = [answer for answer in step.answers if answer.event.connection == name]
        raised = next((answer.event for answer in mine if _raised(answer.event)), None)
        self._leave(name, "" if code == 1000 else f"code={code!r}", raised)
        if raised:
            self._unread(name, [answer.event for answer in mine])
        self._answers([answer for answer in step.answers if raised is None or answer not in mine])

    def _leave(self, name: str, code: str, raised: AnyEvent | None = None) -> None:
        """The end of a client, after a look at what else it was sent."""
        ws = self.names[name]
        if name.startswith("ws") and name not in self.restless:
            self._say(f"assert await {ws}.receive_nothing()")
        self.over.add(name)
        if not name.startswith("ws"):
            self._say(f'await {ws}.send_input({{"type": "http.disconnect"}})')
        elif raised is None:
            self._say(f"await {ws}.disconnect({code})")
        else:
            self._raises(raised, f"await {ws}.disconnect({code})")

    def _unread(self, name: str, events: Iterable[AnyEvent]) -> None:
        """What was sent before a crash; after one a communicator hands out nothing but the error."""
        for event in takewhile(lambda event: not _raised(event), events):
            self._expect(f"{self.names[name]}.output_queue.get_nowait()", event.message)

    # --- answers -------------------------------------------------------------------------------------------------

    def _answers(self, answers: list[Answer]) -> None:
        crashed = {answer.event.connection for answer in answers if _raised(answer.event)}
        raced = self._raced(answers, crashed)
        for answer in answers:
            event = answer.event
            ws = self.names[event.connection]
            if event.connection in raced:
                raced[event.connection].remove(event)
                if not raced[event.connection]:
                    self._in_any_order(ws, _of(event.connection, answers))
            elif _raised(event):
                self.over.add(event.connection)
                self._raises(event, f"await {ws}.wait({_patience(answer)})")
                self._unread(event.connection, _of(event.connection, answers))
                self.crashed.add(event.connection)
            elif event.direction == "error" and event.type != "Returned":
                self.over.add(event.connection)
                self._say(f"# a server takes this for an error ({event.type}), and a communicator does not")
                self._say(f"{ws}.stop()")
            elif event.direction == "send" and event.connection not in crashed | self.crashed:
                self._sent(answer)

    def _raced(self, answers: list[Answer], crashed: set[str]) -> dict[str, list[AnyEvent]]:
        """The texts of connections that another run may send in another order."""
        found: dict[str, list[AnyEvent]] = {}
        for answer in answers:
            found.setdefault(answer.event.connection, []).append(answer.event)
        late = {answer.event.connection for answer in answers if not answer.raced or answer.late > _SLOW}
        return {
            name: events
            for name, events in found.items()
            if len(events) > 1 and name not in crashed | late and all(map(self._exact_text, events))
        }

    def _exact_text(self, event: AnyEvent) -> bool:
        """Whether it is a text that is the same on every run."""
        text = event.message.get("text")
        plain = set(event.message) == {"type", "text"} and isinstance(text, str) and not cut(text)
        return event.type == "websocket.send" and plain and pattern(text, self.write.known) is None

    def _in_any_order(self, ws: str, events: list[AnyEvent]) -> None:
        self._say(f"replies = [await {ws}.receive_from() for _ in range({len(events)})]")
        self._expect("sorted(replies)", sorted(event.message["text"] for event in events))

    def _sent(self, answer: Answer) -> None:
        message, ws, patience = answer.event.message, self.names[answer.event.connection], _patience(answer)
        keys, text = set(message) - {"type"}, message.get("text")
        if answer.event.type == "http.response.start":  # its headers may be lists or tuples, of bytes in any case
            self._say(f'assert (await {ws}.receive_output({patience}))["status"] == {message.get("status")}')
            return
        if len(message.get("body") or b"") > _SHORT:
            self._say(f'assert (await {ws}.receive_output({patience}))["type"] == "{answer.event.type}"')
            return
        data = message.get("bytes")
        if answer.event.type != "websocket.send" or not (
            (keys == {"text"} and isinstance(text, str)) or (keys == {"bytes"} and isinstance(data, bytes))
        ):
            what, value = "receive_output", dict(message)
        elif cut([text, data]):
            begin = (text or data)[:_BEGIN]
            words = begin if text else begin.decode("latin-1")
            self._say("# of the next message the recording kept the beginning only")
            if pattern(words, self.write.known) is None:
                self._say(f"begin = {self.write.expected(begin, 4, 8)}")
                self._say(f"assert (await {ws}.receive_from({patience})).startswith(begin)")
            else:
                self._say(f"await {ws}.receive_from({patience})")
            return
        elif (value := _json(text)) is not None:
            what = "receive_json_from"
        else:
            what, value = "receive_from", text if keys == {"text"} else data
        self._expect(f"await {ws}.{what}({patience})", value)

    def _raises(self, event: AnyEvent, call: str) -> None:
        """The lines for an application that raises."""
        name, text = self._exception(event), event.message.get("text", "")
        if event.type == "NoRoute":
            text = "No route found"
        looks = self._said(text)
        if not looks and name == "Exception":
            looks = "^$" if not text else "."  # whatever was said: of any exception at all a test would say nothing
        options = [_as_is(name)] + ([_as_is(f"match={raw(looks)}")] if looks else [])
        self._say(f"with {self.write.call('pytest.raises', options, 4, room=6)}:\n        {call}")

    def _said(self, text: str) -> str:
        """A pattern for what an exception says, or for the beginning of it; empty if it says nothing, or too much."""
        for begin in (text, text.partition("\n")[0], text[:_BEGIN].rpartition(" ")[0]):
            looks = pattern(begin) or escaped(begin)
            if len(looks) < WIDTH - 20 and "\n" not in begin:
                return looks
        return ""

    def _exception(self, event: AnyEvent) -> str:
        """What a test calls the class of an exception."""
        module = event.message.get("module", "")
        path = event.message.get("class", event.type)
        if event.type == "NoRoute":
            return "ValueError"
        if module in ("", "builtins") and hasattr(builtins, path):
            return path
        root = module.partition(".")[0]
        if root in ("", "__main__", "builtins") or "<locals>" in path:
            return "Exception"
        if root in sys.stdlib_module_names:
            where = self.needs.standard
        else:
            where = self.needs.foreign if _installed(root) else self.needs.own
        where.add((module, path.partition(".")[0]))
        return path

    # --- HTTP ----------------------------------------------------------------------------------------------------

    def _request(self, step: Step) -> None:
        name, message = step.cause.connection, step.cause.message
        http, scope = self.names[name], self.needs.scopes.get(name, {})
        mine = [answer for answer in step.answers if answer.event.connection == name]
        self.needs.testing.add("HttpCommunicator")
        method = scope.get("method", "GET")
        options = [_as_is(self.needs.applications[name]), _as_is(f'"{method}"'), self._given(_asked(scope))]
        if body := message.get("body"):
            self._say(f"body = {self.write.sent(body, 4, 7)}")
            options.append(_as_is("body=body"))
        self._do(f"{http} = HttpCommunicator", *options, *self._headers(scope, bool(body)))
        whole = [answer.event for answer in mine if answer.event.direction == "send"]
        if message.get("more_body") or len(whole) != len(mine) or not _complete(whole):
            self.open.append(name)
            self._do(f"await {http}.send_input", self._given(message))
            self._answers(step.answers)
            return
        response = "response" if len(self.names) == 1 else f"{http}_response"
        self._say(f"{response} = await {http}.get_response({_patience(max(mine, key=lambda a: a.late), _PAGE_LIMIT)})")
        self._say(f'assert {response}["status"] == {whole[0].message.get("status")}')
        self._body(response, whole)
        self._answers([answer for answer in step.answers if answer not in mine])

    def _body(self, response: str, whole: list[AnyEvent]) -> None:
        """What a test says about a body: all of it if it is short or JSON, else its title."""
        body = b"".join(event.message.get("body", b"") for event in whole[1:])
        value = _json(body.decode("utf-8", "replace")) if len(body) < 10 * _SHORT else None
        if value is not None:
            self.needs.standard.add(("json", ""))
            self._expect(f'json.loads({response}["body"])', value)
        elif (title := re.search(rb"<title>[^<]*</title>", body)) and pattern(title[0].decode("latin-1")) is None:
            self._say(f'assert {self.write.expected(title[0], 4, 11)} in {response}["body"]')
        elif len(body) <= _SHORT and pattern(body.decode("latin-1"), self.write.known) is None:
            self._expect(f'{response}["body"]', body)

    # --- values --------------------------------------------------------------------------------------------------

    def _headers(self, scope: Mapping[str, Any], body: bool = False) -> list[Argument]:
        """The argument for the headers of a client: those of its page by their name, with the length of its body."""
        pairs = _headers(scope)
        page = tuple(pair for pair in pairs if pair[0].decode("latin-1").lower() in _PAGE)
        found = [_as_is(f"*{self.needs.page(page)}")] if page else []
        found += [self.write.header(*pair) for pair in pairs if pair not in page]
        found += [_as_is('(b"content-length", str(len(body)).encode())')] if body else []
        if len(found) == 1 and page:
            return [_as_is(f"headers={self.needs.page(page)}")]
        return [("headers=", lambda indent, room: self.write.call("", found, indent, "[]", room))] if found else []

    def _given(self, value: Any, before: str = "") -> Argument:
        """What a client gives, exactly, as an argument of a call."""
        return before, lambda indent, room: self.write.sent(value, indent, room)


def _of(name: str, answers: list[Answer]) -> list[AnyEvent]:
    """What the application of one connection answered."""
    return [answer.event for answer in answers if answer.event.connection == name]


def _as_is(source: str) -> Argument:
    return "", lambda indent, room: source


def _variables(names: list[str], base: str) -> dict[str, str]:
    return {names[0]: base} if len(names) == 1 else {name: name.replace("-", "_") for name in names}


def _in_order(name: str) -> tuple[str, int]:
    kind, _, number = name.rpartition("-")
    return kind, int(number)


def _installed(package: str) -> bool:
    """Whether a package that is loaded is not the project's own."""
    file = getattr(sys.modules.get(package), "__file__", None) or ""
    return not _INSTALLED.isdisjoint(PurePath(file).parts)


def _path(scopes: Mapping[str, Mapping[str, Any]], name: str) -> str:
    path = str(scopes.get(name, {}).get("path", "/"))
    return re.sub(r'["\\\x00-\x1f]', "?", path)


def _asked(scope: Mapping[str, Any]) -> str:
    """The path and the query string, as they stand in a URL."""
    return target({**scope, "path": quote(str(scope.get("path", "/")), safe="/~:@!$&'()*+,=\x02\x05\x03")})


def _raised(event: AnyEvent) -> bool:
    """Whether the application came to an end by an exception of its own: not the server's, not a report of the lab."""
    return event.direction == "error" and event.type != "Returned" and "by" not in event.message


def _plainly_accepted(event: AnyEvent) -> bool:
    return event.direction == "send" and event.type == "websocket.accept"


def _complete(whole: list[AnyEvent]) -> bool:
    """Whether a response has begun and ended, in the form that a communicator can put together."""
    types = [event.type for event in whole]
    if not all("body" in event.message for event in whole[1:]):
        return False  # the body may be left out, and Channels' communicator asks for it
    return types[:1] == ["http.response.start"] and len(whole) > 1 and not whole[-1].message.get("more_body")


def _headers(scope: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """The headers that an application may look at, without the port of a server that is gone."""
    found = []
    for pair in scope.get("headers") or ():
        name, value = (each if isinstance(each, bytes) else str(each).encode("latin-1") for each in pair)
        said = name.decode("latin-1").lower()
        if said in _SAID or not (said in _UNSAID or said.startswith(("accept", "sec-"))):
            found.append((name, re.sub(rb"(127\.0\.0\.1|localhost|\[::1\]):\d+", rb"\1", value)))
    return found


def _patience(answer: Answer, least: int = 0) -> str:
    """The argument for an answer that may need more than a communicator's second, or than `least` seconds."""
    limit = max(least, 2 * math.ceil(answer.late) if answer.late > _SLOW else 0)
    return f"timeout={limit}" if limit else ""


def _json(text: Any) -> Any:
    """The object or list that a text holds in JSON, else None."""
    if not isinstance(text, str) or text[:1] not in ("{", "["):
        return None
    try:
        return json.loads(json_of(text), parse_constant=_no_json)
    except (ValueError, RecursionError):
        return None


def _no_json(word: str) -> Any:
    """JSON has no NaN and no Infinity, and a NaN equals nothing; Python reads and writes them nevertheless."""
    raise ValueError(word)
