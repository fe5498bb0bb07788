"""redis-py through the proxy: varied work with checked results until standard input ends.

usage: redis_py.py PORT [PROTOCOL]      PROTOCOL 2 or 3; the library's own default when missing
"""
import queue
import sys
import threading

import redis

port = int(sys.argv[1])
options = {"protocol": int(sys.argv[2])} if len(sys.argv) > 2 else {}
stopped = threading.Event()
passed = failed = 0


def wait_for_end():
    sys.stdin.read()
    stopped.set()


def check(what, got, expected):
    global passed, failed
    if got == expected:
        passed += 1
    else:
        failed += 1
        print(f"{what}: got {got!r}, expected {expected!r}", flush=True)


def strings(r, n):
    key = f"py:s:{n % 50}"
    check("set", r.set(key, f"value {n}"), True)
    check("get", r.get(key), f"value {n}")
    check("set with nx", r.set(key, "x", nx=True), None)
    check("set with get", r.set(key, "ü\r\n\0", get=True, ex=100), f"value {n}")
    check("get of unicode", r.get(key), "ü\r\n\0")
    check("ttl", 0 < r.ttl(key) <= 100, True)
    check("getdel", r.getdel(key), "ü\r\n\0")
    check("get of nothing", r.get(key), None)
    check("incr", r.incr(f"py:n:{n % 50}") > 0, True)


def several_keys(r, n):
    values = {f"py:m:{i}": f"{n}-{i}" for i in range(30)}
    check("mset", r.mset(values), True)
    keys = list(values) + ["py:nothing"] + list(values)
    check("mget", r.mget(keys), list(values.values()) + [None] + list(values.values()))
    check("exists", r.exists(*values, "py:nothing", "py:m:0"), 31)
    check("delete", r.delete(*list(values)[:10], "py:nothing"), 10)
    check("unlink", r.unlink(*values), 20)


def collections(r, n):
    h, l, s, z, x = (f"py:{kind}:{n % 50}" for kind in "hlszx")
    r.delete(h, l, s + "et", z, x)
    check("hset", r.hset(h, mapping={"a": n, "b": "two"}), 2)
    check("hgetall", r.hgetall(h), {"a": str(n), "b": "two"})
    check("rpush", r.rpush(l, *range(5)), 5)
    check("lrange", r.lrange(l, 0, -1), ["0", "1", "2", "3", "4"])
    check("sadd", r.sadd(s + "et", "a", "b"), 2)
    check("smembers", set(r.smembers(s + "et")), {"a", "b"})
    check("zadd", r.zadd(z, {"a": 1, "b": 2.5}), 2)
    check("zscore", r.zscore(z, "b"), 2.5)
    check("zrange", [tuple(p) for p in r.zrange(z, 0, -1, withscores=True)], [("a", 1.0), ("b", 2.5)])
    check("xadd", r.xadd(x, {"f": n}, id="1-1"), "1-1")
    check("xlen", r.xlen(x), 1)
    check("eval", r.eval("return {KEYS[1], ARGV[1]}", 1, l, "arg"), [l, "arg"])


def pipelines(r, n):
    pipe = r.pipeline(transaction=False)
    for i in range(100):
        pipe.set(f"py:p:{i}", n * i)
        pipe.get(f"py:p:{i}")
    check("pipeline", pipe.execute(), [v for i in range(100) for v in (True, str(n * i))])


def errors(r, n):
    r.set(f"py:e:{n % 50}", "text")
    for what, call in [("incr", lambda: r.incr(f"py:e:{n % 50}")), ("lpush", lambda: r.lpush(f"py:e:{n % 50}", 1)),
                       ("rename over slots", lambda: r.rename("py:a", "py:b"))]:
        try:
            call()
            check(f"{what} fails", "no error", "an error")
        except redis.ResponseError:
            check(f"{what} fails", True, True)


def connections(n):
    with redis.Redis(port=port, client_name=f"py-{n}", decode_responses=True, **options) as r:
        check("ping", r.ping(), True)
        check("client_getname", r.client_getname(), f"py-{n}")
        check("binary", redis.Redis(connection_pool=redis.ConnectionPool(port=port, **options)).echo(b"\xff\0"), b"\xff\0")


class Subscriber:
    """A channel, a pattern and a sharded channel, read by the library's own thread."""

    def __init__(self):
        self.messages = queue.Queue()
        self.pubsub = redis.Redis(port=port, decode_responses=True, **options).pubsub()
        take = lambda m: self.messages.put((m["type"], m["channel"], m["data"]))
        self.pubsub.subscribe(**{"py:news": take})
        self.pubsub.psubscribe(**{"py:n?ws": take})
        self.thread = self.pubsub.run_in_thread(sleep_time=0.1, daemon=True)

    def receives(self, r, n):
        r.publish("py:news", n)
        expected = {("message", "py:news", str(n)), ("pmessage", "py:news", str(n))}
        got = set()
        try:
            while len(got) < 2:
                got.add(self.messages.get(timeout=10))
        except queue.Empty:
            pass
        check("messages", got, expected)


def short_subscription(r, n):
    with redis.Redis(port=port, decode_responses=True, **options).pubsub() as p:
        p.subscribe(f"py:short:{n}", "py:other")
        check("subscribed", [p.get_message(timeout=10)["data"] for _ in range(2)], [1, 2])
        r.publish(f"py:short:{n}", "once")
        check("message", p.get_message(timeout=10)["data"], "once")
        p.ping()
        # With RESP3 the library does not know its own PONG, whatever server it talks to.
        check("pong", p.get_message(timeout=10) is not None, True)
        p.unsubscribe()
        check("unsubscribed", sorted(p.get_message(timeout=10)["data"] for _ in range(2)), [0, 1])


threading.Thread(target=wait_for_end, daemon=True).start()
client = redis.Redis(port=port, decode_responses=True, **options)
subscriber = Subscriber()
n = 0
try:
    while not stopped.is_set():
        strings(client, n)
        several_keys(client, n)
        collections(client, n)
        pipelines(client, n)
        errors(client, n)
        subscriber.receives(client, n)
        short_subscription(client, n)
        if n % 20 == 0:
            connections(n)
        n += 1
        print(f"done {passed}", flush=True)
except redis.RedisError as e:
    failed += 1
    print(f"round {n}: {type(e).__name__}: {e}", flush=True)
print(f"{passed} passed, {failed} failed", flush=True)
sys.exit(1 if failed else 0)
