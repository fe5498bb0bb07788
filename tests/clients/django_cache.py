"""Django's sessions and cache with django-redis, and the limiters of `limits`, through the proxy.

usage: django_cache.py PORT

Leans on a transaction over many keys, so all have one hash tag, MGET of them, SCAN with a pattern, Lua scripts for counters
and windows, locks.
"""
import sys
import threading

import django
from django.conf import settings

port = int(sys.argv[1])
settings.configure(
    SECRET_KEY="for a test",
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    CACHES={
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{port}/0",
            # set_many is one transaction.
            "KEY_PREFIX": "{site}",
        }
    },
)
django.setup()

from django.contrib.sessions.backends.cache import SessionStore
from django.core.cache import cache
from limits import parse, storage, strategies

from checks import check, eventually, run

MANY = {f"many:{i}": {"number": i} for i in range(200)}


def values():
    cache.set_many(MANY, timeout=60)
    check("all of many", cache.get_many(list(MANY)), MANY)
    check("with a time limit", 0 < cache.ttl("many:7") <= 60, True)
    check("by a pattern", sorted(cache.keys("many:1?")), sorted(f"many:1{i}" for i in range(10)))
    check("the same by SCAN", sorted(cache.iter_keys("many:1?", itersize=10)), sorted(cache.keys("many:1?")))
    check("deleted by a pattern", cache.delete_pattern("many:1*"), 111)
    check("the rest is there", len(cache.get_many(list(MANY))), 89)
    cache.delete_many(list(MANY))
    check("and now is not", cache.get_many(list(MANY)), {})


def single_values():
    check("added", [cache.add("one", 1), cache.add("one", 2)], [True, False])
    check("counted", [cache.incr("one"), cache.incr("one", 10), cache.decr("one", 5)], [2, 12, 7])
    check("or made", cache.get_or_set("made", lambda: "new", 30), "new")
    check("touched", cache.touch("made", 500) and cache.ttl("made") > 100, True)
    check("persisted", cache.persist("made") and cache.ttl("made"), None)
    cache.set("short", 1, timeout=1)
    check("expires", eventually(lambda: cache.get("short") is None), True)
    check("versions", [cache.incr_version("one"), cache.get("one"), cache.get("one", version=2)], [2, None, 7])


def locks():
    counted = []

    def count():
        for _ in range(10):
            with cache.lock("lock", timeout=30):
                seen = cache.get("total", 0)
                cache.set("total", seen + 1)
                counted.append(seen)

    threads = [threading.Thread(target=count) for _ in range(4)]
    [t.start() for t in threads]
    [t.join(60) for t in threads]
    check("one after the other", sorted(counted), list(range(40)))


def sessions():
    first = SessionStore()
    first["user"] = "somebody"
    first.create()
    again = SessionStore(session_key=first.session_key)
    check("the session is found again", again["user"], "somebody")
    again.cycle_key()
    check("under a new key", [first.exists(first.session_key), again["user"]], [False, "somebody"])
    again.flush()
    check("and ends", again.exists(again.session_key or "none"), False)


def limiters():
    store = storage.storage_from_string(f"redis://127.0.0.1:{port}")
    kinds = [
        strategies.FixedWindowRateLimiter,
        strategies.MovingWindowRateLimiter,
        strategies.SlidingWindowCounterRateLimiter,
    ]
    for kind in kinds:
        limiter, limit = kind(store), parse("5/hour")
        hits = [limiter.hit(limit, kind.__name__, "a visitor") for _ in range(8)]
        check(kind.__name__, hits, [True] * 5 + [False] * 3)
        check("none remains", limiter.get_window_stats(limit, kind.__name__, "a visitor").remaining, 0)
        limiter.clear(limit, kind.__name__, "a visitor")
        check("cleared", limiter.test(limit, kind.__name__, "a visitor"), True)


run([values, single_values, locks, sessions, limiters])
