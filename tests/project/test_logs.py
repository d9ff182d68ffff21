"""What the project leaves out of logs, beside tokens (test_canary.py)."""

import logging

import pytest
import redis

from labserver.project.chat import logs


@pytest.fixture
def logger():
    """The logger of channels_redis, with the project's filters once."""
    logger = logging.getLogger("channels_redis.pubsub")
    kept = list(logger.filters)
    logs.install()
    yield logger
    logger.filters = kept


def logged(logger, caplog, error):
    """The record of an error that is logged with its traceback."""
    try:
        raise error
    except Exception:
        logger.exception("Unexpected exception in %s", "receive task")
    return caplog.records[-1]


def test_a_redis_that_is_away_takes_one_line(logger, caplog):
    """channels_redis tells it every second with a traceback; what is logged is a line with the reason."""
    record = logged(logger, caplog, redis.ConnectionError("nobody at 127.0.0.1:1"))
    assert record.getMessage() == "Unexpected exception in receive task: nobody at 127.0.0.1:1"
    assert record.exc_info is None


def test_other_errors_keep_their_traceback(logger, caplog):
    """What is no error of Redis may be a fault, and is told in full; so is what is no error at all."""
    assert logged(logger, caplog, ValueError("a fault")).exc_info
    logger.warning("%s to tell", "something")
    assert caplog.records[-1].getMessage() == "something to tell"
