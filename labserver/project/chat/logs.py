"""Tokens stay out of the logs of servers: uvicorn writes the query string of every WebSocket into them.

(Daphne leaves it out. What stands in front of the project, nginx for example, has a log of its own to look after.)
And a Redis that is away fills no log.
"""

import logging
import re

LOGGERS = ("uvicorn.access", "uvicorn.error", "gunicorn.access", "django.request", "django.channels.server")
"""Those that are given a path or a query string; a filter works where a record is logged, not in its parents."""

_TOKENS = (
    (re.compile(r"(?i)\b(token=)[^&\s\"']+"), r"\1[hidden]"),
    (re.compile(r"\beyJ[\w-]{4,}\.[\w-]+\.[\w-]*"), "[hidden]"),  # wherever it stands: {" begins a JWT's header
)


class HideTokens(logging.Filter):
    """Replace tokens in what a record says; the record itself is kept, with as many arguments as it had."""

    def filter(self, record):
        record.msg = _hide(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(_hide(each) for each in record.args)
        return True


class ShortErrors(logging.Filter):
    """One line instead of a traceback of 45, for errors of Redis: channels_redis logs one a second, in each process."""

    def filter(self, record):
        error = record.exc_info and record.exc_info[1]
        if type(error).__module__.startswith("redis."):
            record.msg, record.args, record.exc_info = f"{record.getMessage()}: {error}", (), None
        return True


def _hide(value):
    if isinstance(value, str):
        for pattern, replacement in _TOKENS:
            value = pattern.sub(replacement, value)
    return value


def install():
    """Put the filters on all of them; a second one would change nothing."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(HideTokens())
    logging.getLogger("channels_redis.pubsub").addFilter(ShortErrors())
