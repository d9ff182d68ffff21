"""Exercise 09.3: a health check that tells the truth. Its solution stands in `solutions/09_deployment.ipynb`."""

import asyncio
import inspect
import json
from unittest.mock import patch

from channels.layers import InMemoryChannelLayer, channel_layers, get_channel_layer
from django.http import HttpResponse, HttpResponseBase, JsonResponse
from django.test import RequestFactory

from labserver.course.bench import Crashed, own_time
from labserver.course.exercise import Misconception, exercise
from labserver.live.recorder import own_lines

LATE = 2.0
"""Seconds after which whoever asks has gone."""

SECRET = "redis://:correct-horse@10.0.0.5/0"
"""What an error of a Redis client may say."""


class _Fails(InMemoryChannelLayer):
    """Redis is away."""

    async def send(self, channel, message):
        raise ConnectionError(f"Error 111 connecting to {SECRET}")

    async def new_channel(self, prefix="specific."):
        raise ConnectionError(f"Error 111 connecting to {SECRET}")


class _Loses(InMemoryChannelLayer):
    """Takes each message, and delivers none."""

    async def send(self, channel, message):
        """Nothing."""


class _Hangs(InMemoryChannelLayer):
    """A network that swallows what is sent."""

    async def send(self, channel, message):
        await asyncio.Event().wait()


class _Notes(InMemoryChannelLayer):
    """Well, and knows to whom something was sent."""

    def __init__(self):
        super().__init__()
        self.used = set()

    async def send(self, channel, message):
        self.used.add(channel)
        await super().send(channel, message)


ANOTHER_BODY = 'Answer JsonResponse({"channel_layer": "ok"}), or another text and status=503.'
WITHOUT_END = (
    "waits without an end",
    "Put the waiting into `async with asyncio.timeout(…)`: it raises TimeoutError.",
)


@exercise(
    "09.3",
    title="Are you well",
    goal="Write a view that says within two seconds whether the channel layer delivers.",
    minutes=12,
    hints=(
        "A layer that takes a message has not delivered it. How could one process see both ends?",
        "layer.new_channel() gives a name of your own: send to it, receive from it, compare. All that with a limit.",
        "async with asyncio.timeout(1): … in a try; except Exception: the answer is 503, in words of your own.",
    ),
)
async def health(answer, bench):
    first, second = _Notes(), _Notes()
    for layer in (first, second):
        well = await _asked(answer, layer, "the layer was well")
        if well.status_code != 200 or _said(well) != "ok":
            found = f"the layer was well; your view answered {_shown(well)}"
            raise Misconception("another answer", found, ANOTHER_BODY)
    for layer, told, name, step in (
        (
            _Fails,
            "each send raised ConnectionError",
            "says ok without asking",
            "Send a message, and see whether it comes.",
        ),
        (
            _Loses,
            "the layer took the message, and delivered nothing",
            "asks one half",
            "Receive as well what you have sent: only then has the layer delivered.",
        ),
        (_Hangs, "send came to no end", *WITHOUT_END),
    ):
        response = await _asked(answer, layer(), told)
        found = f"{told}; your view answered {_shown(response)}"
        if SECRET.split(":")[2].partition("@")[0] in response.content.decode():
            step = "Say a word of your own. An error's text may hold a password, and anybody may ask for this page."
            raise Misconception("tells the password", found, step)
        if response.status_code == 200:
            raise Misconception(name, found, step)
        if response.status_code != 503 or _said(response) in (None, "ok"):
            raise Misconception("another answer", found, ANOTHER_BODY)
    if both := first.used & second.used:
        found = f"it sent to the channel {min(both)!r} each time; two checks at once would take each other's message"
        raise Misconception("a channel that all share", found, "Let await layer.new_channel() make the name.")


def _said(response):
    try:
        return json.loads(response.content)["channel_layer"]
    except (ValueError, TypeError, LookupError):
        return None


def _shown(response):
    return f"{response.status_code} {response.content[:80]!r}"


async def _asked(answer, layer, told):
    """What the view answers while this is the channel layer; the time that passes is the check's own."""
    loop = asyncio.get_running_loop()
    with patch.dict(channel_layers.backends, {"default": layer}, clear=True), own_time():
        begun = loop.time()
        try:
            async with asyncio.timeout(30):
                response = await asyncio.create_task(_run(answer))  # its own, so that its time-out is its own
        except TimeoutError as error:
            seconds = loop.time() - begun
            if seconds < 30:
                raise _unanswered(error, told) from None
            raise Misconception(WITHOUT_END[0], f"{told}; after 30 s there was no answer", WITHOUT_END[1]) from None
        except ConnectionError as error:
            raise _unanswered(error, told) from None
        except Exception as error:
            raise Crashed(error) from None
        seconds = loop.time() - begun
    if not isinstance(response, HttpResponseBase):
        raise Misconception("not a response", f"{told}; your view returned {response!r:.60}", ANOTHER_BODY)
    if seconds > LATE:
        found = f"{told}; your view answered after {seconds:g} s"
        raise Misconception("answers too late", found, "A limit of one second leaves time for the answer.")
    return response


async def _run(answer):
    response = answer(RequestFactory().get("/health/"))
    if not inspect.isawaitable(response):
        found = f"it returned {response!r:.60} at once, and nothing to await"
        raise Misconception("not async", found, "Write async def: a channel layer has to be awaited.")
    return await response


def _unanswered(error, told):
    found = f"{told}; your view raised {type(error).__name__}, which is HTTP 500"
    step = "Catch it, and answer with 503: that tells nginx, or whoever asks, to try another one."
    return Misconception("an error is no answer", found, step, own_lines(error))


def _answer(ok, words="not well"):
    return JsonResponse({"channel_layer": "ok" if ok else words}, status=200 if ok else 503)


async def _delivered(limit=1.0, channel=None):
    layer = get_channel_layer()
    async with asyncio.timeout(limit):
        channel = channel or await layer.new_channel()
        await layer.send(channel, {"type": "health.check"})
        return await layer.receive(channel) == {"type": "health.check"}


@health.wrong("says ok without asking")
async def _always(request):
    return _answer(True)


@health.wrong("asks one half")
async def _half(request):
    try:
        async with asyncio.timeout(1):
            await get_channel_layer().send("health", {"type": "health.check"})
    except Exception:
        return _answer(False)
    return _answer(True)


@health.wrong(WITHOUT_END[0])
async def _no_limit(request):
    try:
        return _answer(await _delivered(None))
    except Exception:
        return _answer(False)


@health.wrong("an error is no answer")
async def _raises(request):
    return _answer(await _delivered())


@health.wrong("an error is no answer")
async def _raises_late(request):
    try:
        return _answer(await _delivered())
    except ConnectionError:
        return _answer(False)


@health.wrong("tells the password")
async def _tells(request):
    try:
        return _answer(await _delivered())
    except Exception as error:
        return _answer(False, str(error))


@health.wrong("answers too late")
async def _late(request):
    try:
        return _answer(await _delivered(5))
    except Exception:
        return _answer(False)


@health.wrong("a channel that all share")
async def _shared(request):
    try:
        return _answer(await _delivered(channel="health"))
    except Exception:
        return _answer(False)


@health.wrong("not async")
def _sync(request):
    return _answer(True)


@health.wrong("another answer")
async def _text(request):
    return HttpResponse("ok")


@health.wrong("another answer")
async def _status(request):
    try:
        return _answer(await _delivered())
    except Exception:
        return HttpResponse("bad", status=500)


@health.wrong("not a response")
async def _words(request):
    return {"channel_layer": "ok"}
