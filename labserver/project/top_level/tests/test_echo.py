"""The echo, and who may connect at all."""

import pytest

from .conftest import Client


async def test_text_comes_back_as_text_and_bytes_as_bytes(enter):
    """What is sent comes back unchanged."""
    client = await enter("/ws/echo/")
    await client.send_to(text_data="hello")
    assert await client.receive_from() == "hello"
    await client.send_to(bytes_data=b"\x00\xff")
    assert await client.receive_from() == b"\x00\xff"


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_a_page_of_another_site_may_not_connect(origin):
    """Browsers send cookies along whatever page asks, so the Origin decides."""
    connected, _ = await Client("/ws/echo/", origin=origin).connect()
    assert not connected
