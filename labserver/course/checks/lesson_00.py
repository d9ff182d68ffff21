"""The exercises of lesson 00, Start here. Their solutions stand in `solutions/00_start_here.ipynb`."""

import contextlib

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import URLRouter
from django.urls import path

from labserver.course.bench import CONNECT, LEAVE, sent
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
        raise Misconception("not a number", f"the answer is {answer!r:.40}", "Answer with a whole number, such as 2.")
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
        raise Misconception("another number", f"the answer is {answer}", "Count: members times pushes.")


deliveries.wrong("one delivery for all")(2)
deliveries.wrong("the sender is a member")(8)
deliveries.wrong("another number")(3)
deliveries.wrong("not a number")("six")


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
    for each in answer if isinstance(answer, list) else ():
        target = getattr(each, "callback", None)
        if isinstance(target, type) and hasattr(target, "as_asgi"):
            raise Misconception(
                "the class is not an application",
                f"the route leads to the class {target.__name__}; calling it makes an object, which cannot be awaited",
                "as_asgi() makes an application of a class, as as_view() does for views.",
            )
        if hasattr(type(target), "as_asgi"):
            raise Misconception(
                "an instance is not an application",
                f"the route leads to one {type(target).__name__}, which all clients would share",
                "Leave the instance to Channels: each connection gets its own from as_asgi().",
            )
    if not isinstance(answer, list) or not answer:
        raise Misconception("not a list of routes", f"found {answer!r:.40}", "Keep the list, with path(…) in it.")
    events = await bench.play(URLRouter(answer), CONNECT, LEAVE, path="/ws/lobby/")
    if "websocket.accept" not in sent(events):
        raise Misconception(
            "another path",
            "no route matched /ws/lobby/",
            'Patterns have no slash at the start, and this one has a slash at the end: "ws/lobby/".',
        )


route.wrong("the class is not an application")([path("ws/lobby/", Lobby)])
route.wrong("an instance is not an application")([path("ws/lobby/", Lobby())])
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
    async def pushed(scope, receive, send):
        """Push once the client is in."""

        async def and_push(message):
            await send(message)
            if message["type"] == "websocket.accept":
                await get_channel_layer().group_send("news", {"type": "news.flash", "text": "It snows"})

        await answer.as_asgi()(scope, receive, and_push)

    if not hasattr(answer, "as_asgi"):
        raise Misconception("not a consumer", f"found {answer!r:.40}", "Hand the class itself to check().")
    if not hasattr(answer, "news_flash"):
        raise Misconception(
            "the method's name is not the type's",
            "there is no method news_flash, so Channels raises: No handler for message type news.flash",
            "The type with an underscore for each dot is the method's name.",
        )
    events = await bench.play(pushed, CONNECT, LEAVE)
    if not any(event.type == "receive" for event in events):
        raise Misconception("not a member", "the push reached nobody", "Keep `groups`: it makes each client a member.")
    if sent(events)[1:] != ["It snows"]:
        raise Misconception(
            "another text",
            f"for a push with the text 'It snows' the client got {sent(events)[1:]}",
            "Send event['text'], once.",
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
    if not hasattr(answer, "as_asgi"):
        raise Misconception("not a consumer", f"found {answer!r:.40}", "Hand the class itself to check().")
    layer = get_channel_layer()
    watcher = await layer.new_channel("watcher")
    await layer.group_add("hall", watcher)
    events = await bench.play(answer.as_asgi(), CONNECT, LEAVE)
    calls = [event.type for event in events if event.direction == "layer" and event.connection != "cell"]
    if "group_add" not in calls:
        raise Misconception(
            "never joins the group", "there is no group_add", "Join in connect: group_add(group, self.channel_name)."
        )
    if "websocket.accept" not in sent(events):
        raise Misconception("forgot accept", "the client was never accepted", "Call await self.accept() in connect.")
    if "group_send" not in calls:
        raise Misconception(
            "send where group_send was meant",
            "the newcomer was told, and nobody else",
            "self.send goes to one client. The layer's group_send goes to all members.",
        )
    if sent(events).count("new") != 1:
        raise Misconception(
            "the newcomer does not hear it",
            f"the newcomer got {[text for text in sent(events) if not text.startswith('websocket.')]}",
            "Join the group before you send to it, and once only.",
        )
    if "group_discard" not in calls:
        raise Misconception(
            "never leaves the group",
            "the client is gone, and its channel is still a member",
            "Add group_discard to disconnect.",
        )


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
