"""What the checks of lesson 06 run answers with: a cache of their own, and a clock that is moved, not waited for."""

import asyncio
import contextlib
import contextvars
import pickle
import threading
import time
from collections import OrderedDict
from unittest.mock import patch

from asgiref.sync import sync_to_async
from django.core.cache import CacheHandler
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.locmem import LocMemCache

from labserver.course.exercise import Misconception

RIVAL = "a channel of another process"

_own = contextvars.ContextVar("a check's own cache", default=None)


class _Cache(LocMemCache):
    """A cache of the check's own. Its clock is moved by hand, and it notes the thread of each call.

    rival: a key that another process takes as soon as the answer has found it free.
    slow: seconds that pass after a delete in a thread, before the answer hears of it. deleted: how often it was called.
    """

    def __init__(self, loop):
        super().__init__("a check's own", {})
        self._loop, self._home = loop, threading.get_ident()
        self._cache, self._expire_info = OrderedDict(), {}  # not those that all of this name share
        self.ahead, self.threads, self.rival, self.came = 0, [], None, False
        self.slow = self.deleted = 0

    def make_and_validate_key(self, key, version=None):
        self.threads.append(threading.get_ident())
        return super().make_and_validate_key(key, version)

    def get_backend_timeout(self, timeout=DEFAULT_TIMEOUT):
        end = super().get_backend_timeout(timeout)
        return None if end is None else end + self.ahead

    def _has_expired(self, key):
        left = self._left(key)
        return left is not None and left <= 0

    def _left(self, key):
        end = self._expire_info.get(key, -1)
        return None if end is None else end - time.time() - self.ahead

    def get(self, key, default=None, version=None):
        found = super().get(key, default, version)
        self._read(key)
        return found

    def delete(self, key, version=None):
        found = super().delete(key, version)
        self.deleted += 1
        if self.slow and threading.get_ident() != self._home:
            self.ahead += self.slow
            asyncio.run_coroutine_threadsafe(_turns(), self._loop).result(3)  # what is due meanwhile, begins
        return found

    def has_key(self, key, version=None):
        found = super().has_key(key, version)
        self._read(key)
        return found

    def _read(self, key):
        if key == self.rival:
            self.rival, self.came = None, self.add(key, RIVAL)

    def put(self, key, value):
        """What the check itself writes."""
        self.set(key, value)
        self.threads.pop()

    def entries(self):
        """What it holds, by key."""
        held = [key for key in list(self._cache) if not self._has_expired(key)]
        return {key.split(":", 2)[2]: pickle.loads(self._cache[key]) for key in sorted(held)}

    def left(self, key):
        """Seconds until an entry ends; None if it never does."""
        return self._left(self.make_key(key))


async def _turns():
    for _ in range(10):
        await asyncio.sleep(0)


class _Moved:
    """The cache of a check, the clock of its loop, and the work that is being done in threads."""

    def __init__(self, loop, cache, one_thread):
        self.cache, self.tasks, self._busy = cache, [], set()
        self._threads = {"loop": threading.get_ident(), "one": one_thread}
        now, run = loop.time, loop.run_in_executor

        def in_context(executor, function, *args):  # whichever way leads into the thread, the cache comes along
            future = run(executor, contextvars.copy_context().run, function, *args)
            self._busy.add(future)
            future.add_done_callback(self._busy.discard)
            return future

        def make(loop, coroutine, **options):
            self.tasks.append(asyncio.Task(coroutine, loop=loop, **options))
            return self.tasks[-1]

        loop.time, loop.run_in_executor = lambda: now() + cache.ahead, in_context
        loop.set_task_factory(make)

    def going(self):
        """The tasks that have begun under this clock, and have not ended."""
        return [task for task in self.tasks if not task.done()]

    async def by(self, seconds):
        """Move the clocks of cache and loop, and wait until all that comes of it is done."""
        self.cache.ahead += seconds
        await self.settle()

    async def settle(self):
        quiet = rounds = 0
        while quiet < 20:
            quiet += 1
            await asyncio.sleep(0)
            if self._busy:
                quiet, rounds = 0, rounds + 1
                await asyncio.wait([*self._busy])
            if rounds > 100:
                step = "Let the task sleep between two renewals: await asyncio.sleep(4)."
                raise Misconception("renews without a pause", "it called the cache again and again, at once", step)

    def hold_threads(self):
        """Hold that the cache was only called where nobody waits for it; raises Misconception."""
        if self._threads["loop"] in self.cache.threads:
            step = "A slow cache would stop all clients. Call it so: await in_thread(cache.get, key)."
            raise Misconception("the event loop waits for the cache", "it called the cache in the loop's thread", step)
        if self._threads["one"] in self.cache.threads:
            found = "it called the cache in the one thread that all sync code shares"
            step = "The methods with an a, such as aset, and sync_to_async go there. in_thread takes any free thread."
            raise Misconception("one thread for all", found, step)


@contextlib.asynccontextmanager
async def own_cache():
    """Inside it, `django.core.cache` is a cache of the check's own for all that the check runs, and for nobody else."""
    loop = asyncio.get_running_loop()
    moved = _Moved(loop, _Cache(loop), await sync_to_async(threading.get_ident)())
    others, token = CacheHandler.__getitem__, _own.set(moved.cache)
    try:
        with patch.object(CacheHandler, "__getitem__", lambda handler, alias: _own.get() or others(handler, alias)):
            yield moved
    finally:
        _own.reset(token)
