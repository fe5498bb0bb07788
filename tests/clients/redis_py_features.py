"""redis-py through the proxy: what the library builds on top of single commands.

usage: redis_py_features.py PORT PROTOCOL      PROTOCOL 2 or 3
"""
import sys
import threading

import redis
from redis.lock import Lock

from checks import check, check_raises, eventually, run

options = {"port": int(sys.argv[1]), "protocol": int(sys.argv[2]), "decode_responses": True}
r = redis.Redis(**options)


def pipelines():
    with r.pipeline(transaction=True) as pipe:
        pipe.set("{tag}:a", 1).incr("{tag}:a").lpush("{tag}:l", "x").lrange("{tag}:l", 0, -1).delete("{tag}:l")
        check("transaction", pipe.execute(), [True, 2, 1, ["x"], 1])
    with r.pipeline(transaction=False) as pipe:
        for i in range(200):
            pipe.hset(f"pipe:{i}", "f", i).hget(f"pipe:{i}", "f")
        check("pipeline over slots", pipe.execute(), [v for i in range(200) for v in (1, str(i))])
    with r.pipeline(transaction=True) as pipe:
        pipe.set("{tag}:text", "x").incr("{tag}:text").get("{tag}:text")
        got = pipe.execute(raise_on_error=False)
        check("error inside", [got[0], type(got[1]).__name__, got[2]], [True, "ResponseError", "x"])
    with r.pipeline(transaction=True) as pipe:
        pipe.set("one", 1).set("two", 2)
        text = check_raises("transaction over slots", redis.RedisError, pipe.execute)
        check("it says why", "CROSSSLOT" in text or "same slot" in text, True)
    check("nothing was set", r.exists("one", "two"), 0)


def transactions():
    r.set("{w}:n", 0)

    def add(times):
        own = redis.Redis(**options)
        for _ in range(times):
            def body(pipe):
                value = int(pipe.get("{w}:n"))
                pipe.multi()
                pipe.set("{w}:n", value + 1)
            own.transaction(body, "{w}:n")

    threads = [threading.Thread(target=add, args=(25,)) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    check("no increment is lost", r.get("{w}:n"), "100")
    with r.pipeline() as pipe:
        pipe.watch("{w}:n")
        r.set("{w}:n", "changed")
        pipe.multi()
        pipe.set("{w}:n", "mine")
        check_raises("a watched key was changed", redis.WatchError, pipe.execute)
    with r.pipeline() as pipe:
        pipe.watch("{w}:n")
        r.set("{w}:n", "again")
        pipe.unwatch()
        pipe.set("{w}:n", "mine")
        check("after unwatch", pipe.execute(), [True])
    check("after all", r.get("{w}:n"), "mine")


def subscriptions():
    got, patterns = [], []
    p = redis.Redis(**options).pubsub(ignore_subscribe_messages=True)
    p.subscribe(**{"news": lambda m: got.append(m["data"])})
    p.psubscribe(**{"n*": lambda m: patterns.append((m["pattern"], m["channel"], m["data"]))})
    # The confirmations: what is published before them may be missed.
    for _ in range(2):
        p.get_message(timeout=10)
    thread = p.run_in_thread(sleep_time=0.05, daemon=True)
    for i in range(50):
        r.publish("news", i)
    check("all arrive", eventually(lambda: len(got) == 50 and len(patterns) == 50), True)
    check("in order", got, [str(i) for i in range(50)])
    check("by pattern", patterns[0], ("n*", "news", "0"))
    thread.stop()
    thread.join(10)
    with redis.Redis(**options).pubsub() as q:
        q.subscribe("mine")
        check("confirmation", q.get_message(timeout=10)["type"], "subscribe")
        r.publish("mine", "hello")
        check("message", q.get_message(timeout=10), {"type": "message", "pattern": None, "channel": "mine", "data": "hello"})
        check("silence", q.get_message(timeout=0.05), None)
        q.unsubscribe()
        check("end", q.get_message(timeout=10)["type"], "unsubscribe")


def locks():
    lock = Lock(r, "lock:a", timeout=10)
    check("acquire", lock.acquire(blocking=False), True)
    check("held", Lock(r, "lock:a", timeout=10).acquire(blocking=False), False)
    check("extend", lock.extend(5), True)
    check("reacquire", lock.reacquire(), True)
    lock.release()
    check("released", lock.locked(), False)
    check_raises("not owned", redis.exceptions.LockError, lock.release)
    total = [0]

    def work():
        for _ in range(5):
            with redis.Redis(**options).lock("lock:b", timeout=10, sleep=0.005):
                seen = total[0]
                r.ping()
                total[0] = seen + 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    check("one at a time", total[0], 20)


def scans():
    keys = {f"scan:{i}" for i in range(1000)}
    r.mset({k: 1 for k in keys})
    check("scan_iter", set(r.scan_iter("scan:*", count=50)), keys)
    check("scan_iter by type", set(r.scan_iter("scan:*", _type="hash")), set())
    fields = {f"f{i}": str(i) for i in range(1000)}
    r.hset("scanned:h", mapping=fields)
    check("hscan_iter", dict(r.hscan_iter("scanned:h", count=50)), fields)
    r.sadd("scanned:s", *fields)
    check("sscan_iter", set(r.sscan_iter("scanned:s")), set(fields))
    r.zadd("scanned:z", {f: float(v) for f, v in fields.items()})
    check("zscan_iter", dict(r.zscan_iter("scanned:z")), {f: float(v) for f, v in fields.items()})
    check("delete of all", r.delete(*keys), 1000)


def flat(reply):
    """Entries per stream, of either shape that the library gives."""
    pairs = reply.items() if isinstance(reply, dict) else reply
    unpack = lambda v: v[0] if v and isinstance(v[0], list) else v
    return {name: [tuple(e) for e in unpack(entries)] for name, entries in pairs}


def streams():
    check("group", r.xgroup_create("stream", "g", mkstream=True), True)
    check_raises("group again", redis.ResponseError, lambda: r.xgroup_create("stream", "g"))
    got = []
    own = redis.Redis(**options)
    waiter = threading.Thread(target=lambda: got.append(own.xreadgroup("g", "c1", {"stream": ">"}, block=4000)))
    waiter.start()
    eventually(lambda: "xreadgroup" in [c["cmd"] for c in r.client_list()])
    first = r.xadd("stream", {"n": "0"})
    waiter.join(10)
    check("a blocked reader is woken", flat(got[0]), {"stream": [(first, {"n": "0"})]})
    ids = [r.xadd("stream", {"n": str(i)}) for i in range(1, 10)]
    rest = flat(r.xreadgroup("g", "c2", {"stream": ">"}, count=100, block=10))["stream"]
    check("the rest", [i for i, _ in rest], ids)
    check("pending", r.xpending("stream", "g")["pending"], 10)
    check("ack", r.xack("stream", "g", first, *ids[:4]), 5)
    claimed = r.xautoclaim("stream", "g", "c3", min_idle_time=0)
    check("claim", [i for i, _ in claimed[1]], ids[4:])
    check("nothing new", r.xreadgroup("g", "c1", {"stream": ">"}, block=20) or None, None)
    check("groups", r.xinfo_groups("stream")[0]["pending"], 5)


def blocking():
    got = []
    own = redis.Redis(**options)
    waiter = threading.Thread(target=lambda: [got.append(own.blpop(["block:l"], timeout=4)) for _ in range(20)])
    waiter.start()
    for i in range(20):
        r.rpush("block:l", i)
    waiter.join(20)
    check("blpop", [tuple(v) for v in got], [("block:l", str(i)) for i in range(20)])
    check("timeout", r.blpop(["block:none"], timeout=0.05), None)
    r.rpush("{b}:1", "x")
    check("blmove", r.blmove("{b}:1", "{b}:2", 1), "x")
    r.zadd("block:z", {"a": 1})
    check("bzpopmin", tuple(r.bzpopmin("block:z", timeout=1)), ("block:z", "a", 1.0))


def scripts():
    script = r.register_script("redis.call('SET', KEYS[1], ARGV[1]); return redis.call('GET', KEYS[1])")
    for i in range(30):
        check("script", script(keys=[f"script:{i}"], args=[i]), str(i))
    with r.pipeline(transaction=False) as pipe:
        [script(keys=[f"script:{i}"], args=["p"], client=pipe) for i in range(30)]
        check("script in a pipeline", pipe.execute(), ["p"] * 30)
    check("script exists", r.script_exists(script.sha, "0" * 40), [True, False])
    text = check_raises("script error", redis.ResponseError, lambda: r.eval("return redis.call('NOSUCH')", 0))
    check("its text", "Unknown Redis command called from script" in text, True)


def server():
    with redis.Redis(client_name="features", **options) as named:
        named.ping()
        check("client_list", "features" in [c["name"] for c in r.client_list()], True)
        check("client_info", named.client_info()["name"], "features")
        check("client_id", named.client_id(), int(named.client_info()["id"]))
    check("info", "redis_version" in r.info(), True)
    check("info of a section", "used_memory" in r.info("memory"), True)
    check("config_get", "maxmemory" in r.config_get("maxmemory*"), True)
    check("time", len(r.time()), 2)
    check("select 0", redis.Redis(db=0, **options).ping(), True)
    check_raises("another database", redis.ResponseError, lambda: redis.Redis(db=1, **options).ping())
    check("flushdb", r.flushdb(), True)
    r.mset({f"size:{i}": i for i in range(100)})
    check("dbsize", r.dbsize(), 100)
    check("keys", len(r.keys("size:*")), 100)
    check("flushall", r.flushall(), True)
    check("dbsize of nothing", r.dbsize(), 0)


run([pipelines, transactions, subscriptions, locks, scans, streams, blocking, scripts, server])
