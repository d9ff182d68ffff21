"""What lesson 09 shows of real servers holds: D7 in all its parts, and A6 and B2 once more outside of the notebook.

Servers are slow to start: the cells run once, in one real kernel, and the tests judge what they have printed.
"""

import os
import re

import nbformat
import pytest

from labserver.course import needs
from labserver.live.programs import how_to_get, missing

from .conftest import NOTEBOOKS

UNASKED = {"load-one", "load-more", "sharding", "hosts-more", "class"}
"""Cells that no test here asks for: what they measure and look out for is in other tests, or differs each time."""


@pytest.fixture(scope="module")
def told(new_kernel):
    """`told("daphne")` is what this cell has printed, by line; skipped where one of its programs is missing."""
    cells = [cell for cell in nbformat.read(NOTEBOOKS / "09_deployment.ipynb", 4).cells if cell.cell_type == "code"]
    kernel = new_kernel(NOTEBOOKS)
    texts, absent = {}, {}
    try:
        for cell in cells:
            if cell.id not in UNASKED:
                mark, *names = cell.source.partition("\n")[0].split()
                absent[cell.id] = missing(names) if mark == needs.MARK else []
                texts[cell.id] = kernel.run(cell.source, limit=100)
    finally:
        kernel.end()

    def lines(id):
        if absent[id]:
            reason = f"expected the program {absent[id][0]}, found none; get it with: {how_to_get(absent[id][0])}"
            (pytest.fail if os.environ.get("LABSERVER_REQUIRE_ALL") == "1" else pytest.skip)(reason)
        return texts[id].rstrip().splitlines()

    return lines


def columns(lines):
    """The rows of a table, by their names: what stands after two spaces or more."""
    rows = (re.split(r"\s{2,}", line.strip()) for line in lines)
    return {name: found for name, *found in rows}


# --- the project ------------------------------------------------------------------------------------------------------


def test_the_consumer_of_a_cell_becomes_a_part_of_the_written_project(told):
    """What the cell did, the file does: it has a route among the project's own, and passes a test there."""
    assert told("talk") == ['bob:   {"text": "for you"}', 'bob:   {"text": "for all"}', 'alice: {"text": "for all"}']
    written = told("project")
    assert any("python manage.py runserver" in line for line in written)
    assert any(line.startswith("again: status 2") for line in written)
    assert [line for line in told("move") if "PostOffice" in line] == [
        "from .post import PostOffice",
        '    path("ws/post/<str:name>/", PostOffice.as_asgi()),',
    ]
    passed = told("test")
    assert "PASSED tests/test_post.py::test_a_letter_to_oneself" in passed
    assert all(line.startswith("PASSED") for line in passed) and len(passed) > 2


def test_production_refuses_to_start_with_what_is_missing(told):
    """Secret key, hosts and Redis are demanded by name; with them Django's own check has no complaint."""
    lines = told("settings")
    assert [line.split(",")[0] for line in lines[1:4]] == [
        "- MYSITE_SECRET_KEY",
        "- MYSITE_ALLOWED_HOSTS",
        "- MYSITE_REDIS_URL",
    ]
    assert lines[4].startswith("System check identified no issues")


def test_daphne_serves_pages_and_sockets_outside_of_the_notebook(told):
    """B2: the written project's wiring, asgi.py and routing, works in a process of its own."""
    assert told("daphne") == ["page: 200", "the kernel: False · daphne: True"]


def test_uvicorn_reloads_and_asks_clients_to_come_again(told):
    """A6 and D7: who is connected is closed with 1012 when a file is saved, and the next client meets the new code."""
    assert told("reload") == [
        "alice: version 1",
        "alice: closed with 1012",
        "bob:   version 2",
        '"Reloading" in the log: True',
    ]


# --- gunicorn ---------------------------------------------------------------------------------------------------------


def test_gunicorn_runs_uvicorn_workers_with_these_settings(told):
    """D7: the worker count, the limits and times; two workers run, and they hold all sockets."""
    lines = told("start")
    conf = dict(line.split(" = ", 1) for line in lines if re.match(r"\w+ = ", line))
    assert "min(2 * os.cpu_count() + 1, 8)" in conf["workers"]
    assert {name: conf[name] for name in ("max_requests", "timeout", "keepalive")} == {
        "max_requests": "1000",
        "timeout": "120",
        "keepalive": "5",
    }
    assert "children: 2" in lines
    assert [int(line.rpartition("= ")[2]) for line in lines if "cores:" in line] == [3, 5, 8, 8]
    assert told("held") == ["the two workers hold 100 sockets", "the third one holds 0"]


def test_a_comment_ends_the_deployment_script(told):
    """D7: after it no option reaches gunicorn, which then fails with its own worker; mended, all do."""
    assert told("wild") == [
        "gunicorn gets: [app:application] [--workers] [2]",
        "the shell finds no program --worker-class",
    ]
    assert told("wild-run") == ["sync · HTTP 500", "TypeError: application() missing 1 required"]
    mended = told("mended")
    assert mended[0].endswith("[--worker-class] [uvicorn_worker.UvicornWorker] [--timeout] [120]")
    assert "uvicorn_worker.UvicornWorker · HTTP 200" in mended
    assert mended[-2] == "warnings on" and "deprecated" in mended[-1]


def test_two_workers_lose_each_others_messages_without_redis(told):
    """D7: in memory, single and group messages stay in their worker, and the sender is told a falsehood."""
    assert told("letters-talk") == [
        "to one, same worker : for you    the sender: nothing",
        "to one, other worker: nothing    the sender: not connected",
        "to all, same worker : for all",
        "to all, other worker: nothing",
        "an error in the log: False",
    ]


@pytest.mark.needs("nginx")
def test_redis_carries_messages_between_the_workers(told):
    """D7: behind nginx, with Redis, single and group messages reach the other worker; the chat's do so, too."""
    assert told("production") == [
        "to one, same worker : for you    the sender: nothing",
        "to one, other worker: for you    the sender: nothing",
        "to all, same worker : for all",
        "to all, other worker: for all",
    ]
    assert [line.partition("'text': ")[2] for line in told("chat")] == [
        "'tea?', 'single': True}",
        "'good morning', 'single': False}",
    ]


# --- nginx ------------------------------------------------------------------------------------------------------------


@pytest.mark.needs("nginx")
def test_nginx_has_no_style_sheets_before_collectstatic(told):
    """D7: the part of nginx.conf is shown without comments, and static files are 404 until they are gathered."""
    *shown, blank, last = told("conf")
    assert last == "/static/chat/chat.css: 404, after collectstatic 200" and not blank
    assert "    location /static/ {" in shown and "        proxy_set_header Host $http_host;" in shown
    assert not any("#" in line for line in shown)


@pytest.mark.needs("nginx")
def test_nginx_needs_its_lines(told):
    """D7: without the upgrade headers no socket opens, without Host nothing, without the others lies are believed."""
    rows = columns(told("lines")[1:])
    written = ["200", "ws 127.0.0.1", "accepts"]
    assert rows["as written"] == rows["without proxy_http_version 1.1;"] == written
    assert rows["without Upgrade $http_upgrade;"] == ["200", "HTTP 404", "HTTP 404"]
    assert rows["without Connection $connection_upgrade;"] == ["200", "HTTP 404", "HTTP 404"]
    assert rows["without Host $http_host;"] == ["400", "HTTP 403", "HTTP 403"]
    assert rows["without X-Forwarded-For $remote_addr;"] == ["200", "ws 203.0.113.9", "accepts"]
    assert rows["without X-Forwarded-Proto $scheme;"] == ["200", "wss 127.0.0.1", "accepts"]


@pytest.mark.needs("nginx")
def test_a_location_that_does_not_fit_hides_the_chat(told):
    """D7: below `location /ws/` the chat's path is nginx's own 404, and so are the pages."""
    rows = columns(told("location"))
    assert rows["location /ws/"] == ["404", "ws 127.0.0.1", "HTTP 404"]
    assert rows["location ~ /ws/"] == ["404", "ws 127.0.0.1", "accepts"]
    assert told("location")[-1] == "the test is successful"


@pytest.mark.needs("nginx")
def test_a_quiet_socket_is_cut_and_pings_keep_it(told):
    """D7: after proxy_read_timeout nginx cuts the line without a close frame, unless pongs go by."""
    assert told("timeout")[:2] == ["quiet:  closed with 1006", "lively: {'text': 'still here'}"]


@pytest.mark.needs("nginx")
def test_whose_address_is_believed(told):
    """A set address is true; an appended one is the visitor's, and so is what gunicorn gets on an open port."""
    assert columns(told("forwarded")) == {
        "nginx": ["127.0.0.1"],
        "nginx, the address appended": ["203.0.113.9"],
        "gunicorn, a port without nginx": ["203.0.113.9"],
        "daphne, a port without nginx": ["127.0.0.1"],
    }


@pytest.mark.needs("nginx")
def test_hosts_and_origins(told):
    """A foreign host is refused by page and socket, a foreign or missing origin by the socket alone."""
    assert [line.partition(" page ")[2] for line in told("hosts")] == [
        "200 · socket open",
        "400 · socket HTTP 403",
        "200 · socket HTTP 403",
        "200 · socket HTTP 403",
    ]


# --- in use -----------------------------------------------------------------------------------------------------------


@pytest.mark.needs("nginx")
def test_clients_come_back_after_a_reload_and_after_a_death(told):
    """D7: 1012 at a graceful reload, then the new code; 1006 when a worker is killed; 1012 at max_requests."""
    assert told("reload-live") == ["HUP:  closed with 1012, back again", "KILL: closed with 1006, back again"]
    assert told("requests") == ["max_requests: closed with 1012"]


def test_who_writes_tokens_into_a_log(told):
    """Fault 7: daphne those of pages; uvicorn none of this project's."""
    rows = columns(told("tokens")[1:])
    assert rows == {"daphne": ["TOKEN", "hidden"], "uvicorn, our project": ["hidden", "hidden"]}


@pytest.mark.needs("nginx")
def test_gunicorn_and_nginx_write_no_tokens(told):
    """Fault 7: with the written settings; uvicorn and nginx by themselves write both, as nginx's error log does."""
    assert columns(told("tokens-more")) == {
        "uvicorn, app:application": ["TOKEN", "TOKEN"],
        "gunicorn, our settings": ["hidden", "hidden"],
        "nginx, our settings": ["hidden", "hidden"],
        "nginx, format combined": ["TOKEN", "TOKEN"],
        "nginx, its error log": ["TOKEN", "TOKEN"],
    }


@pytest.mark.needs("nginx")
def test_health_names_what_is_away(told):
    """Without Redis 503, and who writes is cut; with it 200 again, while the cache has forgotten who is there."""
    before, without, bob, again, alice = told("health")
    assert before == again and before.startswith("200")
    assert without.startswith("503 {'database': 'ok', 'cache': 'failed")
    assert bob == "bob:   closed with 1006"
    assert alice == "alice: {'error': 'not connected'}"
