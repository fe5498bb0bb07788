"""Huey through the proxy: a consumer's threads work off tasks, retries, delayed tasks, priorities, a chain and a lock.

usage: huey_jobs.py PORT

Leans on BRPOP and BZPOPMIN with a time limit, a Lua script that takes due tasks from a sorted set, SET NX as a lock.
"""
import sys
import time

from huey import PriorityRedisHuey, RedisHuey, crontab
from huey.exceptions import TaskLockedException

from checks import check, eventually, run

port = int(sys.argv[1])
huey = RedisHuey("jobs", port=port, read_timeout=1)
urgent = PriorityRedisHuey("urgent", port=port)
attempts, order = [], []


@huey.task()
def add(a, b):
    return a + b


@huey.task(retries=2)
def fails_twice():
    attempts.append(1)
    if len(attempts) < 3:
        raise ValueError("not yet")


@huey.task()
@huey.lock_task("alone")
def alone():
    return True


@huey.periodic_task(crontab(minute="*"))
def every_minute():
    return None


@urgent.task()
def note(name):
    order.append(name)


def consumer_threads():
    consumer = huey.create_consumer(workers=3, periodic=True, check_worker_health=False, scheduler_interval=1)
    consumer.start()
    try:
        results = [add(i, i) for i in range(100)]
        check("results", [r.get(blocking=True, timeout=30) for r in results], [2 * i for i in range(100)])
        fails_twice()
        check("retried", eventually(lambda: len(attempts) == 3), True)
        started = time.monotonic()
        later = add.schedule((20, 22), delay=1)
        check("a delayed task", later.get(blocking=True, timeout=30), 42)
        check("not too early", time.monotonic() - started >= 0.9, True)
        chain = huey.enqueue(add.s(1, 2).then(add, 10).then(add, 100))
        check("a chain", chain.get(blocking=True, timeout=30), [3, 13, 113])
        check("nothing waits", eventually(lambda: huey.pending_count() + huey.scheduled_count() == 0), True)
    finally:
        consumer.stop(graceful=True)


def locks():
    with huey.lock_task("alone"):
        alone()
        try:
            huey.execute(huey.dequeue())
        except TaskLockedException:
            pass
        check("locked", huey.is_locked("alone"), True)
    check("free again", huey.is_locked("alone"), False)
    result = alone()
    huey.execute(huey.dequeue())
    check("with the lock", result.get(), True)
    huey.flush()


def priorities():
    for name, priority in [("low", 1), ("high", 50), ("middle", 10)]:
        urgent.enqueue(note.s(name, priority=priority))
    while task := urgent.dequeue():
        urgent.execute(task)
        if len(order) == 3:
            break
    check("by priority", order, ["high", "middle", "low"])


def stored_data():
    huey.put("key", {"a": 1})
    check("peeked", huey.get("key", peek=True), {"a": 1})
    check("taken", huey.get("key"), {"a": 1})
    check("gone", huey.get("key"), None)
    check("only once", [huey.put_if_empty("once", i) for i in range(3)], [True, False, False])


run([consumer_threads, locks, priorities, stored_data])
