"""How gunicorn runs this project: `gunicorn mysite.asgi:application`, in this folder, finds this file by its name.

All settings: https://gunicorn.org/reference/settings/
"""

import logging
import os
import re

from uvicorn_worker import UvicornWorker

os.makedirs("run", exist_ok=True)

# A socket in a file, for nginx on the same machine: nobody can reach it over the network. The umask makes it one for
# this user and group alone, so the user of nginx must be one of them.
bind = "unix:run/gunicorn.sock"
umask = 0o007
pidfile = "run/gunicorn.pid"
control_socket = "run/gunicorn.ctl"  # what `gunicornc` talks to; by default all gunicorns of a user share one name

# The usual rule is for workers that wait for a database while a request is under way. A worker with sockets does not
# wait: it serves others meanwhile, so one for each core does the work. More of them help where views block in threads,
# and cost: about 60 MB each, and Redis hands a message to a group to every worker with a member of it.
workers = int(os.environ.get("WEB_CONCURRENCY") or min(2 * os.cpu_count() + 1, 8))


class Worker(UvicornWorker):
    """A uvicorn in each worker, with what gunicorn has no setting for."""

    CONFIG_KWARGS = UvicornWorker.CONFIG_KWARGS | {
        "lifespan": "off",  # Django has none
        "ws_max_size": 1024 * 1024,  # bytes of a message; 16 MiB unless told otherwise, kept in memory for each client
        "ws_ping_interval": 20,  # seconds; must be less than proxy_read_timeout in nginx.conf
        "ws_ping_timeout": 20,  # who does not answer for so long is gone, though no packet ever said so
        "timeout_graceful_shutdown": 20,  # less than graceful_timeout: consumers that end by themselves can clean up
    }


worker_class = Worker

# A worker is replaced after so many HTTP requests, in case something leaks. Not all at the same time: hence the jitter.
# Its WebSockets are closed then, with code 1012, and clients have to connect again. Their messages are not counted.
max_requests = 1000
max_requests_jitter = 200

timeout = 120  # a worker whose event loop stands still is killed, after 60 to 120 s: it tells of itself every 60 s
graceful_timeout = 30  # what requests get to end in, at a reload or a stop; WebSockets are closed at once, with 1012
keepalive = 5  # a connection waits so long for a next request; nginx before 1.30 never sends one

# X-Forwarded-For and -Proto are believed, whoever sends them. That is right as long as only nginx can reach the socket
# above. With `bind = "0.0.0.0:8000"` name the addresses of nginx here.
forwarded_allow_ips = "*"

accesslog = "-"  # stdout; messages and errors go to stderr


def post_worker_init(worker):
    """Keep query strings out of both logs: they may hold tokens, and uvicorn logs them for pages and sockets alike."""
    for name in ("uvicorn.access", "uvicorn.error"):
        logging.getLogger(name).addFilter(_without_queries)


def _without_queries(record):
    if isinstance(record.args, tuple):
        record.args = tuple(re.sub(r"\?\S*", "", each) if isinstance(each, str) else each for each in record.args)
    return True
