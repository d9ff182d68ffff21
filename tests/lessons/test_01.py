"""What lesson 01 shows holds on the live server."""


async def test_the_lessons_echo_answers_a_client(lesson):
    """The echo that is written step by step sends each text back, in order."""
    space = await lesson("01_asgi_events", "setup", "hello", "echo")

    async with space.server.connect("/") as ws:
        await ws.send("one")
        await ws.send("two")

        assert [await ws.recv(), await ws.recv()] == ["one", "two"]
