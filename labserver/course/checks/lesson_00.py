"""The exercises of lesson 00, Start here. Their solutions stand in `solutions/00_start_here.ipynb`."""

import contextlib
import inspect

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import URLRouter
from django.urls import path

from labserver.course.bench import CONNECT, LEAVE, consumer, sent
from labserver.course.exercise import Misconception, exercise


class Lobby(AsyncWebsocketConsumer):
    """As the lesson has it."""

    groups = ["lobby"]

    async def lobby_message(self, event):
        await self.send(text_data=event["text"])


# --- 00.1 ------------------------------------------------------------------------------------------------------------


@exercise(
    "00.1",
    title="Count the deliveries",
    goal="Say how many messages the clients receive in all when a cell pushes twice to a group of three.",
    minutes=2,
    hints=(
        "One group_send goes in. Look at the picture of the push in the lesson: how many arrows leave on the right?",
        "The layer delivers each message to each member. The cell that sends is not a member.",
    ),
)
async def deliveries(answer, bench):
    if not isinstance(answer, int):
        raise Misconception("not a whole number", f"you answered {answer!r:.40}", "Answer with a number such as 2.")
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(bench.join(Lobby.as_asgi())) for _ in range(3)]
        for word in ("one", "two"):
            await get_channel_layer().group_send("lobby", {"type": "lobby.message", "text": word})
            await bench.rest()
        actual = sum(len(sent(client.events)) - 1 for client in clients)  # but for the accept
    if answer == 2:
        raise Misconception(
            "one delivery for all", "2 is the number of pushes", "Each member gets a copy of each. How many members?"
        )
    if answer == 8:
        raise Misconception(
            "the sender is a member", "8 counts the cell too", "A cell can send to a group without being in it."
        )
    if answer != actual:
        raise Misconception("another number", f"you answered {answer}", "How many copies does one push make?")


deliveries.wrong("one delivery for all")(2)
deliveries.wrong("the sender is a member")(8)
deliveries.wrong("another number")(3)
deliveries.wrong("not a whole number")("six")


# --- 00.2 ------------------------------------------------------------------------------------------------------------


@exercise(
    "00.2",
    title="Repair a route",
    goal="Mend the route so that a client at /ws/lobby/ is accepted.",
    minutes=4,
    hints=(
        "Read the crash: something 'can't be used in await'. A route needs an ASGI application. Is a class one?",
        "Look at the routing cell of the lesson: what stands behind the class there?",
    ),
)
async def route(answer, bench):
    if not isinstance(answer, (list, tuple)) or not answer:
        raise Misconception("not a list of routes", f"found {answer!r:.40}", "Put path(…, …) between the brackets.")
    for each in answer:
        target = getattr(each, "callback", None)
        if target is None:
            raise Misconception("not a route", f"found {each!r:.40}", "Each entry of the list is a path(…, …).")
        if inspect.isclass(target) and hasattr(target, "as_asgi"):
            raise Misconception(
                "the class is not an application",
                f"the route leads to the class {target.__name__}; calling it makes an object, which cannot be awaited",
                "as_asgi() makes an application of a class, as as_view() does for views.",
            )
        if inspect.ismethod(target) and target.__name__ == "as_asgi":
            raise Misconception(
                "as_asgi is not called", "the route leads to the method as_asgi itself", "Write as_asgi(): call it."
            )
        if hasattr(type(target), "as_asgi"):
            raise Misconception(
                "an instance is not an application",
                f"the route leads to one {type(target).__name__}, which all clients would share",
                "Leave the instance to Channels: each connection gets its own from as_asgi().",
            )
    for address, wanted in (("/ws/lobby/", True), ("/ws/other/", False)):
        events = await bench.play(URLRouter(answer), CONNECT, LEAVE, path=address)
        if wanted and any(event.type == "NoRoute" for event in events):
            raise Misconception(
                "another path",
                "no route matched /ws/lobby/",
                'Patterns have no slash at the start, and this one has a slash at the end: "ws/lobby/".',
            )
        if wanted != ("websocket.accept" in sent(events)):
            raise Misconception(
                "refuses the client" if wanted else "matches other paths too",
                f"a client at {address} was {'not ' if wanted else ''}accepted",
                "Lead it to Lobby as it is above." if wanted else 'Name the path: "ws/lobby/".',
            )


route.wrong("the class is not an application")([path("ws/lobby/", Lobby)])
route.wrong("an instance is not an application")([path("ws/lobby/", Lobby())])
route.wrong("as_asgi is not called")([path("ws/lobby/", Lobby.as_asgi)])
route.wrong("not a route")(["ws/lobby/", Lobby.as_asgi()])
route.wrong("matches other paths too")([path("<path:any>", Lobby.as_asgi())])
route.wrong("another path")([path("ws/lobby", Lobby.as_asgi())])
route.wrong("not a list of routes")(path("ws/lobby/", Lobby.as_asgi()))


# --- 00.3 ------------------------------------------------------------------------------------------------------------


@exercise(
    "00.3",
    title="Repair a push",
    goal="Write the method that a push to the group needs, so that each client gets its text.",
    minutes=5,
    hints=(
        "Channels looks for a method by the message's type. What becomes of the dot?",
        "The type news.flash is handled by `async def news_flash(self, event)`. The text is event['text'].",
        "Inside it: `await self.send(text_data=event['text'])`. A client gets text, not the whole event.",
    ),
)
async def push(answer, bench):
    application = consumer(answer)
    if not hasattr(answer, "news_flash"):
        raise Misconception(
            "the method's name is not the type's",
            "there is no method news_flash, so Channels raises: No handler for message type news.flash",
            "The type with an underscore for each dot is the method's name.",
        )
    async with bench.join(application) as client:
        for words in ("It snows", "It thaws"):
            await get_channel_layer().group_send("news", {"type": "news.flash", "text": words})
            await bench.rest()
        arrived = sent(client.events)[1:]
    if not any(event.type == "receive" for event in bench.trace):
        raise Misconception("not a member", "the push reached nobody", "Keep `groups`: it makes each client a member.")
    if not arrived:
        raise Misconception("sends nothing", "the method ran, and the client got nothing", "Await self.send(…) in it.")
    if arrived != ["It snows", "It thaws"]:
        raise Misconception(
            "another text",
            f"for pushes with the texts 'It snows' and 'It thaws' the client got {arrived}",
            "Send event['text'], once for each push.",
        )


class _News(AsyncWebsocketConsumer):
    groups = ["news"]


@push.wrong("the method's name is not the type's")
class _NoMethod(_News):
    news = AsyncWebsocketConsumer.send


@push.wrong("another text")
class _Whole(_News):
    async def news_flash(self, event):
        await self.send(text_data=str(event))


@push.wrong("sends nothing")
class _Mute(_News):
    async def news_flash(self, event):
        self.text = event["text"]


@push.wrong("not a member")
class _Alone(AsyncWebsocketConsumer):
    news_flash = AsyncWebsocketConsumer.send


push.wrong("not a consumer")(_News.as_asgi)


# --- 00.4 ------------------------------------------------------------------------------------------------------------


@exercise(
    "00.4",
    title="Tell everybody who came",
    goal="Write connect and disconnect so that everybody in the hall, the newcomer too, gets the text new each time.",
    minutes=8,
    hints=(
        "Three things belong into connect: join the group hall, accept, and tell the group. In which order?",
        "group_send goes to those who are members at that moment. To hear it too, the newcomer joins first.",
        "The message needs the type that your method handles: {'type': 'hall.new'}. In disconnect, group_discard.",
    ),
)
async def hall(answer, bench):
    application = consumer(answer)
    async with bench.join(application) as alice:
        first = _texts(alice)
        async with bench.join(application) as bob:
            heard, newcomer = _texts(alice)[len(first) :], _texts(bob)
            await bob.does(LEAVE)
        after = _texts(alice)[len(first) + len(heard) :]
        await alice.does(LEAVE)
        calls = [(event.type, event.message.get("group")) for event in alice.events if event.direction == "layer"]
        accepted = "websocket.accept" in sent(alice.events)
    if not accepted:
        raise Misconception("forgot accept", "the client was never accepted", "Call await self.accept() in connect.")
    if ("group_add", "hall") not in calls:
        raise Misconception(
            "never joins the group",
            "nobody is added to the group 'hall'",
            "Join in connect: await self.channel_layer.group_add('hall', self.channel_name).",
        )
    if not newcomer and not heard:
        raise Misconception(
            "nobody is told",
            "no client got a text",
            "Push to the group: await self.channel_layer.group_send('hall', …), and do not forget the await.",
        )
    if not heard:
        raise Misconception(
            "send where group_send was meant",
            "the newcomer was told, and nobody else",
            "self.send goes to one client. The layer's group_send goes to all members.",
        )
    if first != ["new"] or newcomer != ["new"] or heard != ["new"]:
        raise Misconception(
            "the newcomer does not hear it",
            f"the newcomer got {newcomer}, and the one who was there {heard}",
            "Join the group before you send to it, and send to it once.",
        )
    if ("group_discard", "hall") not in calls:
        raise Misconception(
            "never leaves the group",
            "the client is gone, and its channel is still a member of 'hall'",
            "Call group_discard for 'hall' in disconnect, with an await.",
        )
    if after:
        raise Misconception(
            "tells who left", f"when a client left, the other one got {after}", "Push in connect alone."
        )


def _texts(client):
    """What a client got."""
    return [words for words in sent(client.events) if not str(words).startswith("websocket.")]


class _Hall(AsyncWebsocketConsumer):
    async def hall_new(self, event):
        await self.send("new")

    async def disconnect(self, code):
        await self.channel_layer.group_discard("hall", self.channel_name)


@hall.wrong("never joins the group")
class _Outside(_Hall):
    async def connect(self):
        await self.accept()
        await self.channel_layer.group_send("hall", {"type": "hall.new"})


@hall.wrong("forgot accept")
class _NoAccept(_Hall):
    async def connect(self):
        await self.channel_layer.group_add("hall", self.channel_name)


@hall.wrong("nobody is told")
class _Quiet(_Hall):
    async def connect(self):
        await self.channel_layer.group_add("hall", self.channel_name)
        await self.accept()


@hall.wrong("tells who left")
class _Farewell(_Hall):
    async def connect(self):
        await self.channel_layer.group_add("hall", self.channel_name)
        await self.accept()
        await self.channel_layer.group_send("hall", {"type": "hall.new"})

    async def disconnect(self, code):
        await super().disconnect(code)
        await self.channel_layer.group_send("hall", {"type": "hall.new"})


@hall.wrong("send where group_send was meant")
class _TellsOne(_Hall):
    async def connect(self):
        await self.channel_layer.group_add("hall", self.channel_name)
        await self.accept()
        await self.send("new")


@hall.wrong("the newcomer does not hear it")
class _JoinsLate(_Hall):
    async def connect(self):
        await self.accept()
        await self.channel_layer.group_send("hall", {"type": "hall.new"})
        await self.channel_layer.group_add("hall", self.channel_name)


@hall.wrong("never leaves the group")
class _Stays(_Hall):
    async def connect(self):
        await self.channel_layer.group_add("hall", self.channel_name)
        await self.accept()
        await self.channel_layer.group_send("hall", {"type": "hall.new"})

    async def disconnect(self, code):
        print("gone")


hall.wrong("not a consumer")(_Hall.as_asgi)
