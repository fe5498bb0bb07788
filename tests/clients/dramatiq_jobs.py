"""Dramatiq through the proxy: workers, retries, delays, results and a rate limiter, all of it Lua over one hash tag.

usage: dramatiq_jobs.py PORT
"""
import sys
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.rate_limits import ConcurrentRateLimiter, WindowRateLimiter
from dramatiq.rate_limits.backends import RedisBackend as LimitBackend
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from checks import check, run

port = int(sys.argv[1])
broker = RedisBroker(port=port, namespace="{dramatiq}", heartbeat_timeout=5000, maintenance_chance=100000)
broker.add_middleware(Results(backend=RedisBackend(port=port)))
dramatiq.set_broker(broker)
limits = LimitBackend(port=port)
attempts = []


@dramatiq.actor(store_results=True)
def add(a, b):
    return a + b


@dramatiq.actor(store_results=True, max_retries=3, min_backoff=50, max_backoff=100)
def fails_twice():
    attempts.append(1)
    if len(attempts) < 3:
        raise ValueError("not yet")
    return len(attempts)


def workers():
    broker.flush_all()
    worker = dramatiq.Worker(broker, worker_threads=4, worker_timeout=100)
    worker.start()
    try:
        messages = [add.send(i, i) for i in range(100)]
        got = [m.get_result(block=True, timeout=30000) for m in messages]
        check("results", got, [2 * i for i in range(100)])
        retried = fails_twice.send()
        check("retried", retried.get_result(block=True, timeout=30000), 3)
        started = time.monotonic()
        later = add.send_with_options(args=(20, 22), delay=500)
        check("a delayed message", later.get_result(block=True, timeout=30000), 42)
        check("not too early", time.monotonic() - started >= 0.45, True)
        pipe = (add.message(1, 2) | add.message(10) | add.message(100)).run()
        check("a pipe", pipe.get_result(block=True, timeout=30000), 113)
        group = dramatiq.group([add.message(i, 1) for i in range(20)]).run()
        check("a group", list(group.get_results(block=True, timeout=30000)), list(range(1, 21)))
        broker.join(add.queue_name, timeout=30000)
        worker.join()
        check("nothing is left", broker.do_qsize(add.queue_name), 0)
    finally:
        worker.stop()


def limiters():
    window = WindowRateLimiter(limits, "{window}", limit=5, window=60)
    let_in = 0
    for _ in range(8):
        with window.acquire(raise_on_failure=False) as got:
            let_in += bool(got)
    check("five are let in", let_in, 5)
    mutex = ConcurrentRateLimiter(limits, "mutex", limit=1)
    with mutex.acquire() as first, mutex.acquire(raise_on_failure=False) as second:
        check("one at a time", [first, bool(second)], [True, False])
    with mutex.acquire(raise_on_failure=False) as again:
        check("then the next", again, True)


run([workers, limiters])
