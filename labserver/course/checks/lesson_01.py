"""The exercises of lesson 01, ASGI events. Their solutions stand in `solutions/01_asgi_events.ipynb`."""

import json

from labserver.course.bench import CONNECT, LEAVE, Bench, Crashed, data, in_order, sent, text
from labserver.course.exercise import Misconception, exercise

# --- 01.1 ------------------------------------------------------------------------------------------------------------


@exercise(
    "01.1",
    title="Predict a refusal",
    goal="List the events that pass when an application accepts, sends one message and closes with 4003.",
    minutes=4,
    hints=(
        "Begin with what the client does. Which event asks for the connection, and is it received or sent?",
        "The application answers with accept, then send, then close: three events. It ends before it receives another.",
    ),
)
async def predict(answer, bench):
    async def farewell(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "Your token has expired."})
        await send({"type": "websocket.close", "code": 4003})

    events = await Bench().play(farewell, CONNECT)  # of its own: the trace would be the answer
    actual = [event.type.removeprefix("websocket.") for event in events]
    if not isinstance(answer, (list, tuple)):
        raise Misconception("not a list", f"found {answer!r:.40}", 'Write a list of texts, such as ["accept", "send"].')
    guess = [str(each).lower().removeprefix("websocket.") for each in answer]
    if guess == actual:
        return
    if "connect" not in guess:
        raise Misconception(
            "the client asks first", "the list has no connect", "Put first what the client does to begin."
        )
    if "disconnect" in guess:
        raise Misconception(
            "close is not disconnect",
            "the list has a disconnect, and this application receives none",
            "The application closes and returns. Nobody is left to receive another event.",
        )
    right = next(n for n in range(len(actual) + 1) if guess[: n + 1] != actual[: n + 1])
    raise Misconception(
        "order of events",
        f"the first {right} of your list {'is' if right == 1 else 'are'} right, and what comes then is not",
        "Go through it in the order of the sentence: what does the client do, and what does the application send?",
    )


predict.wrong("not a list")("connect, accept, send, close")
predict.wrong("the client asks first")(["accept", "send", "close"])
predict.wrong("close is not disconnect")(["connect", "accept", "send", "close", "disconnect"])
predict.wrong("order of events")(["websocket.connect", "websocket.send", "websocket.accept", "websocket.close"])


# --- 01.2 ------------------------------------------------------------------------------------------------------------


@exercise(
    "01.2",
    title="Shout",
    goal="Write an application that accepts, sends each text back in capital letters, and ends when the client leaves.",
    minutes=8,
    hints=(
        "Three steps: receive the connect event, send websocket.accept, then receive in a loop.",
        "In the loop look at event['type']. For websocket.receive, send event['text'].upper(). And for the other type?",
        "After websocket.disconnect nothing comes any more: `return` (or `break`) there.",
    ),
)
async def shout(answer, bench):
    events = await bench.play(answer, CONNECT, text("one"), text("two"), LEAVE)
    answers = [each for each in sent(events) if each not in ("websocket.accept", "websocket.close")]
    if "websocket.accept" not in sent(events):
        raise Misconception(
            "forgot accept", "it never sent websocket.accept", "Answer websocket.connect with websocket.accept."
        )
    if answers != ["ONE", "TWO"]:
        raise Misconception(
            "other replies",
            f"for 'one' and 'two' it sent {answers}",
            "Send one reply for each websocket.receive: its text in capital letters.",
        )
    if bench.still_running:
        raise Misconception(
            "never leaves the loop",
            "the client is gone, and it still waits for an event",
            "Return when the type is websocket.disconnect.",
        )


@shout.wrong("forgot accept")
async def _no_accept(scope, receive, send):
    while (await receive())["type"] != "websocket.disconnect":
        pass


@shout.wrong("other replies")
async def _one_reply(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    event = await receive()
    await send({"type": "websocket.send", "text": event["text"].upper()})
    while (await receive())["type"] != "websocket.disconnect":
        pass


@shout.wrong("never leaves the loop")
async def _endless(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        event = await receive()
        if event["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event["text"].upper()})


# --- 01.3 ------------------------------------------------------------------------------------------------------------


@exercise(
    "01.3",
    title="Refuse so that the browser sees why",
    goal="Write an application that refuses every client with the close code 4003, so that a page can read the code.",
    minutes=5,
    hints=(
        "A close code travels in a close frame. Is there a WebSocket yet that could carry one?",
        "Accept first. Then the close frame can carry your code.",
    ),
)
async def refuse(answer, bench):
    events = await bench.play(answer, CONNECT)
    codes = [event.message.get("code") for event in events if event.type == "websocket.close"]
    if not codes:
        raise Misconception(
            "does not close",
            "it sent no websocket.close, or not before the client did something else",
            "Send websocket.close with a code, and wait for nothing before it.",
        )
    seen = await bench.parity(answer, CONNECT, LEAVE)
    if seen.live[0][0] == "refused":
        raise Misconception(
            "close before accept",
            f"a client of the live server gets HTTP {seen.live[0][1]}, and a page sees code 1006",
            "Send websocket.accept first: only an open WebSocket has close codes.",
        )
    if codes[0] != 4003:
        raise Misconception(
            "another code", f"it closed with {codes[0] or 1000}", 'Say {"type": "websocket.close", "code": 4003}.'
        )


@refuse.wrong("close before accept")
async def _unseen(scope, receive, send):
    await receive()
    await send({"type": "websocket.close", "code": 4003})


@refuse.wrong("does not close")
async def _lets_in(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


@refuse.wrong("another code")
async def _no_code(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close"})


# --- 01.4 ------------------------------------------------------------------------------------------------------------


@exercise(
    "01.4",
    title="Repair: a dictionary on the wire",
    goal="Mend the application so that its client gets the reading as JSON text.",
    minutes=5,
    hints=(
        "A WebSocket carries text or bytes, nothing else. What is event['text'] allowed to be?",
        "`json.dumps(reading)` makes text of a dictionary. `str(reading)` does too, but no page can read that.",
    ),
)
async def reading(answer, bench):
    try:
        events = await bench.play(answer, CONNECT, LEAVE)
    except Crashed as crash:
        if "object has no attribute 'encode'" not in str(crash):
            raise
        raise Misconception(
            "a dictionary is not text",
            "`text` is no text; the server cannot encode it, and the client gets 1011",
            "Make text of the dictionary first, with json.dumps.",
        ) from None
    step = "Send the reading after accept, in one websocket.send with the key 'text'."
    in_order(events, "websocket.accept", "websocket.send", name="sends nothing", step=step)
    said = next(event.message.get("text") for event in events if event.type == "websocket.send")
    if said is None:
        raise Misconception("no text", "its websocket.send has no text", step)
    try:
        found = json.loads(said)
    except ValueError:
        raise Misconception(
            "str() is not JSON",
            f"it sent {said!r:.60}, which JSON.parse in a page refuses",
            "json.dumps writes the double quotes that JSON wants.",
        ) from None
    if found != {"celsius": 21.5}:
        raise Misconception("another content", f"it sent {said!r:.60}", "Send the reading itself, and once encoded.")


def _thermometer(encode):
    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": encode({"celsius": 21.5})})
        await receive()

    return application


reading.wrong("a dictionary is not text")(_thermometer(dict))
reading.wrong("str() is not JSON")(_thermometer(str))
reading.wrong("another content")(_thermometer(lambda found: json.dumps(json.dumps(found))))


@reading.wrong("no text")
async def _bytes(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "bytes": b'{"celsius": 21.5}'})
    await receive()


@reading.wrong("sends nothing")
async def _silent(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


# --- 01.5 ------------------------------------------------------------------------------------------------------------


@exercise(
    "01.5",
    title="Repair: the client that sends bytes",
    goal="Mend the echo so that it sends text back as text and bytes back as bytes.",
    minutes=6,
    hints=(
        "The crash says KeyError: 'text'. Print the event: which key has it when the client sends bytes?",
        "An event has 'text' or 'bytes'. Other servers send both keys, with None for one. event.get works with both.",
        "If event.get('text') is None, send {'type': 'websocket.send', 'bytes': event['bytes']}; else the text.",
    ),
)
async def echo(answer, bench):
    one_key = text("a"), text(""), data(b"\x01"), data(b"")
    both_keys = [{"text": None, "bytes": None, **event} for event in one_key]  # as some other servers send them
    for messages in (one_key, both_keys):
        events = await bench.play(answer, CONNECT, *messages, LEAVE)
        replies = [event.message for event in events if event.type == "websocket.send"]
        given = [(each.get("text"), each.get("bytes")) for each in replies]
        wanted = [(each.get("text"), each.get("bytes")) for each in messages]
        if given == wanted[:2]:
            raise Misconception(
                "ignores bytes",
                "it answered the texts, and not the bytes",
                "Look for event['bytes'] too, and send it back under the same key.",
            )
        if (None, None) in given:
            raise Misconception(
                "neither text nor bytes",
                "it sent a message without either: both keys were there, and one of them was None",
                'Ask whether event.get("text") is not None. Whether the key is there says nothing.',
            )
        if given != wanted:
            raise Misconception(
                "not as it came",
                f"for 'a', an empty text, b'\\x01' and empty bytes it sent {[t if b is None else b for t, b in given]}",
                "Send each message back under the key that it came in with, the empty ones too.",
            )


async def _conversation(receive, send, reply):
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        if (answer := reply(event)) is not None:
            await send({"type": "websocket.send", **answer})


@echo.wrong("ignores bytes")
async def _texts_only(scope, receive, send):
    await _conversation(receive, send, lambda e: {"text": e["text"]} if e.get("text") is not None else None)


@echo.wrong("neither text nor bytes")
async def _by_key(scope, receive, send):
    await _conversation(receive, send, lambda e: {"text": e["text"]} if "text" in e else {"bytes": e["bytes"]})


@echo.wrong("not as it came")
async def _decodes(scope, receive, send):
    await _conversation(receive, send, lambda e: {"text": e.get("text") or (e.get("bytes") or b"").decode()})
