"""`labserver demo`: the main job in a terminal."""

import re

from labserver import serve
from labserver.live import demo


def test_the_demo_shows_a_conversation_and_stops(capsys):
    """Two clients in a group, a push to both, the same diagram every time, and a server that has stopped."""

    def shown():
        assert demo.main() == 0
        return re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", capsys.readouterr().out)

    first, second = shown(), shown()
    assert first == second
    assert "Two clients join a group" in first and "The server has stopped" in first
    lines = [line for line in first.splitlines() if line.startswith(("ws-", "cell"))]
    assert sum("group_send" in line for line in lines) == 2
    assert sum("websocket.send" in line for line in lines) == 4
    assert sum("pushed" in line and "websocket.send" in line for line in lines) == 2
    server = serve("labserver.project.asgi:application")  # the demo's one, stopped before
    assert server.connections == ()
    server.stop()
