"""The first two exercises of lesson 09, deployment. Their solutions stand in `solutions/09_deployment.ipynb`."""

import ipaddress

from labserver.course.bench import CONNECT, LEAVE, sent
from labserver.course.exercise import Misconception, exercise

from .lesson_05 import but

# --- 09.1 ------------------------------------------------------------------------------------------------------------

SYMPTOMS = (
    (
        "upgrade",
        "pages are fine, and each handshake is answered with 404",
        "Django answers with 404 where it sees an HTTP request. Which lines of nginx make a handshake of it?",
    ),
    (
        "layer",
        "half of what is sent to a group does not arrive, and nobody sees an error",
        "Who is in the group is what the channel layer knows. Whose memory is that, with two workers?",
    ),
    (
        "cache",
        "group messages arrive; private ones are “not delivered: not connected”, half of the time",
        "The layer does its work here: groups arrive. Where does the chat look for the channels of one user?",
    ),
    (
        "host",
        "pages are answered with 400, and each handshake with 403",
        "400 is what Django says of a name that is not among ALLOWED_HOSTS. Who has put another name there?",
    ),
    (
        "ping",
        "a socket that is silent for a while is cut with 1006, always after the same time",
        "Who looks at the clock while nothing is sent, and what would stop that clock? A worker dies at any time.",
    ),
    (
        "proto",
        "the browser is sent from https:// to the very same address, again and again",
        "Django sends to https:// whoever came by http://. How would it know how the browser came?",
    ),
)
"""The line that is missing; what people see; what to ask oneself."""

CAUSES = tuple(cause for cause, *_ in SYMPTOMS)


@exercise(
    "09.1",
    title="Six telephone calls",
    goal="Say for each of six complaints about a deployed chat which line of the configuration is missing.",
    minutes=7,
    hints=(
        "Ask of each complaint: does the request come to Django at all, and as what? Then: which process answers it?",
        "Two are about what several workers do not share. Four are about what nginx does not pass on, or cuts.",
        "400 is a name, 404 a handshake that came as plain HTTP, a redirect that never ends is a forgotten https.",
    ),
)
async def calls(answer, bench):
    if not isinstance(answer, list | tuple):
        raise Misconception("not a list", f"found {answer!r:.40}", "Keep the list, with six words.")
    answer = [*answer]
    if len(answer) != len(SYMPTOMS):
        found = f"your list has {len(answer)} words"
        raise Misconception("not one for each", found, "Six complaints, six words, in the order of the table.")
    for said, (cause, symptom, step) in zip(answer, SYMPTOMS, strict=True):
        if said not in CAUSES:
            raise Misconception("another word", f"found {said!r:.40}", f"Answer with one of: {', '.join(CAUSES)}.")
        if said != cause:
            raise Misconception(f"takes {cause} for {said}", f"you answered {said!r} for: {symptom}", step)


for _i, _said in ((0, "host"), (1, "cache"), (2, "layer"), (3, "upgrade"), (4, "layer"), (5, "host")):
    calls.wrong(f"takes {CAUSES[_i]} for {_said}")([*CAUSES[:_i], _said, *CAUSES[_i + 1 :]])
calls.wrong("not a list")("upgrade")
calls.wrong("not one for each")([*CAUSES[1:]])
calls.wrong("another word")(["websocket", *CAUSES[1:]])


# --- 09.2 ------------------------------------------------------------------------------------------------------------

NGINX, BALANCER, STRANGER = "10.0.0.1", "10.0.0.2", "198.51.100.9"
"""Two proxies of ours, and somebody who comes past them. (RFC 5737 and RFC 1918 keep these for examples.)"""

ALICE, LIE = "203.0.113.7", "192.0.2.1"
"""Where alice is, and where she says that she is."""

LEFTMOST = (
    "takes what the client wrote",
    "Each proxy appends, on the right, whom it saw. Begin there; what stands left of it, anybody may have written.",
)
ONE_LINE = (
    "reads one line of two",
    "A header may come several times, and a dict keeps one of them. Join the values, in their order, with a comma.",
)
CASES = (
    (
        NGINX,
        [ALICE],
        ALICE,
        "the address does not come",
        "Read x-forwarded-for if the peer is one of trusted. Names and values are bytes: b'x-forwarded-for'.",
    ),
    (
        STRANGER,
        [ALICE],
        STRANGER,
        "believes everybody",
        "Look first who hands over the header: scope['client'][0] must be one of trusted.",
    ),
    (NGINX, [f"{LIE}, {ALICE}"], ALICE, *LEFTMOST),
    (NGINX, [LIE, ALICE], ALICE, *ONE_LINE),
    (
        NGINX,
        [f"{LIE}, {ALICE}, {BALANCER}"],
        ALICE,
        "takes a proxy for the client",
        "From the right: what is one of trusted is ours, and not the client. Go on to the left.",
    ),
    (NGINX, [ALICE, BALANCER], ALICE, *ONE_LINE),
    (NGINX, [], NGINX, "invents an address", "Without the header nobody knows more than the scope: leave it."),
    (
        NGINX,
        [f"{LIE}, unknown"],
        NGINX,
        "takes a word for an address",
        "The one that counts must be an address: ipaddress.ip_address raises ValueError. Leave the scope then.",
    ),
    (NGINX, [f"{BALANCER}, {NGINX}"], NGINX, "takes a proxy for the client", "None but ours: leave the scope."),
)
"""The peer, the values of the header, the address that the inner application must see; misconception and step."""


@exercise(
    "09.2",
    title="Where does she come from",
    goal="Write a middleware that puts the client's own address into the scope, if a proxy of ours says what it is.",
    minutes=12,
    hints=(
        "Who may say where a client is? And who has written the word at the left end of the header?",
        "Leave at once if the peer is not trusted. Else split the joined header, and go through it from the right.",
        "for word in reversed(words): the first that is not in trusted counts. Is it an address? Hand on a new dict.",
    ),
)
async def address(answer, bench):
    seen = []

    async def inner(scope, receive, send):
        seen.append(scope)
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    application = answer(inner, {NGINX, BALANCER})
    for peer, values, wanted, name, step in CASES:
        told = f"the peer was {peer}, " + (f"x-forwarded-for {' and '.join(map(repr, values))}" if values else "alone")
        got = await _seen(bench, application, seen, _scope(peer, values), told)
        if got != wanted:
            found = f"{told}; your middleware handed on the client {got}, expected {wanted}"
            raise Misconception(name, found, step)
    await _whole(bench, application, seen)


def _scope(peer, values):
    headers = [(b"host", b"chat.example"), *((b"x-forwarded-for", value.encode()) for value in values)]
    return {"client": [peer, 40000], "headers": headers}


async def _seen(bench, application, seen, scope, told):
    """The address of the client in the scope that comes to the inner application."""
    given, before = [], [*scope["client"]]

    async def watched(scope, receive, send):
        given.append(scope)
        await application(scope, receive, send)

    seen.clear()
    await bench.play(watched, CONNECT, LEAVE, **scope)
    if not seen:
        found = f"{told}; the inner application was not called"
        raise Misconception("nobody answers", found, "Whatever the address: await self.inner(scope, receive, send).")
    if given[0]["client"] != before:
        found = f"{told}; the client of the scope that came in is now {given[0]['client']!r:.60}"
        step = "Hand on a copy with another list: dict(scope, client=[address, 0])."
        raise Misconception("changes what is not its own", found, step)
    match seen[0].get("client"):
        case [str(host), int()]:
            return host
        case other:
            found = f"{told}; your middleware handed on client={other!r:.60}"
            raise Misconception("another shape", found, "A client is [address, port]; who does not know, writes 0.")


async def _whole(bench, application, seen):
    """Hold that a scope without a client, as it comes by a UNIX socket, goes on as it is, and so do messages."""
    seen.clear()
    scope = {**_scope(NGINX, [ALICE]), "client": None}
    events = await bench.play(application, CONNECT, LEAVE, path="/chat/", **scope)
    if not seen or seen[0].get("client") is not None or seen[0]["path"] != "/chat/" or not sent(events):
        found = "the scope had client=None, as it comes by a UNIX socket; what was handed on was something else"
        step = "Who handed it over is not known then, and so not trusted: leave the scope as it is."
        raise Misconception("nobody is trusted", found, step)


class _Address:
    """Right, but for what a subclass changes."""

    def __init__(self, inner, trusted):
        self.inner, self.trusted = inner, trusted

    async def __call__(self, scope, receive, send):
        if self.believed(scope["client"]) and (found := self.found(self.words(scope))):
            scope = self.changed(scope, found)
        await self.inner(scope, receive, send)

    def believed(self, client):
        return client and client[0] in self.trusted

    def words(self, scope):
        values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
        return [word.strip() for word in ",".join(values).split(",")]

    def found(self, words):
        word = next((word for word in reversed(words) if word not in self.trusted), "")
        try:
            return str(ipaddress.ip_address(word))
        except ValueError:
            return None

    def changed(self, scope, found):
        return dict(scope, client=[found, 0])


def _in_place(self, scope, found):
    scope["client"][:] = [found, 0]
    return scope


def _in_its_dict(self, scope, found):
    scope["client"] = [found, 0]
    return scope


async def _nobody(self, scope, receive, send):
    await receive()
    await send({"type": "websocket.close"})


for _name, _changes in (
    ("the address does not come", {"believed": lambda self, client: False}),
    ("believes everybody", {"believed": lambda self, client: client}),
    (LEFTMOST[0], {"found": lambda self, words: words[0]}),
    (ONE_LINE[0], {"words": lambda self, scope: _Address.words(self, _one_line(reversed(scope["headers"])))}),
    (ONE_LINE[0], {"words": lambda self, scope: _Address.words(self, _one_line(scope["headers"]))}),
    ("takes a proxy for the client", {"found": lambda self, words: words[-1]}),
    ("invents an address", {"found": lambda self, words: _Address.found(self, words) or "0.0.0.0"}),
    (
        "takes a word for an address",
        {"found": lambda self, words: next((word for word in reversed(words) if word not in self.trusted), None)},
    ),
    (
        "takes a word for an address",
        {"found": lambda self, words: next(filter(None, (_Address.found(self, [word]) for word in words[::-1])), None)},
    ),
    ("another shape", {"changed": lambda self, scope, found: dict(scope, client=found)}),
    ("changes what is not its own", {"changed": _in_place}),
    ("changes what is not its own", {"changed": _in_its_dict}),
    ("nobody answers", {"__call__": _nobody}),
    ("nobody is trusted", {"believed": lambda self, client: client is None or client[0] in self.trusted}),
):
    address.wrong(_name)(but(_Address, **_changes))


def _one_line(headers):
    return {"headers": dict(headers).items()}
