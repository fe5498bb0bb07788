"""redis-py's cluster client through the proxy, which it takes for a cluster of one node; until standard input ends.

usage: redis_py_cluster.py PORT
"""
import sys
import threading
import time

from redis.cluster import RedisCluster
from redis.exceptions import RedisError, ResponseError

port = int(sys.argv[1])
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


def connect(**options):
    return RedisCluster(host="127.0.0.1", port=port, decode_responses=True, **options)


def topology(r):
    check("nodes", [(n.host, n.port, n.server_type) for n in r.get_nodes()], [("127.0.0.1", port, "primary")])
    check("slots", sorted(r.cluster_slots()), [(0, 16383)])
    check("nodes as told", list(r.cluster_nodes()), [f"127.0.0.1:{port}"])
    check("state", r.cluster_info()["cluster_state"], "ok")
    check("shards", len(r.cluster_shards()), 1)
    check("keyslot", r.cluster_keyslot("foo"), 12182)
    check("replicas", r.get_replicas(), [])


def work(r, n):
    keys = [f"pyc:{n % 50}:{i}" for i in range(20)]
    for i, key in enumerate(keys):
        check("set", r.set(key, f"{n}-{i}"), True)
        check("get", r.get(key), f"{n}-{i}")
    check("mget_nonatomic", r.mget_nonatomic(keys), [f"{n}-{i}" for i in range(20)])
    check("mset_nonatomic", r.mset_nonatomic({k: n for k in keys}), [True] * 20)
    tagged = {f"{{pyc:{n % 50}}}:{i}": str(i) for i in range(5)}
    check("mset", r.mset(tagged), True)
    check("mget", r.mget(list(tagged)), list(tagged.values()))
    check("exists", r.exists(*keys), 20)
    check("delete", r.delete(*keys), 20)
    h, z = f"pyc:h:{n % 50}", f"pyc:z:{n % 50}"
    r.delete(h, z)
    check("hset", r.hset(h, mapping={"a": n, "b": "two"}), 2)
    check("hgetall", r.hgetall(h), {"a": str(n), "b": "two"})
    check("zadd", r.zadd(z, {"a": 1, "b": 2}), 2)
    check("zrange", r.zrange(z, 0, -1), ["a", "b"])
    check("eval", r.eval("return {KEYS[1], ARGV[1]}", 1, h, "x"), [h, "x"])


def pipeline(r, n):
    pipe = r.pipeline()
    for i in range(50):
        pipe.set(f"pyc:p:{i}", n * i)
        pipe.get(f"pyc:p:{i}")
    check("pipeline", pipe.execute(), [v for i in range(50) for v in (True, str(n * i))])


def errors(r, n):
    r.set(f"pyc:e:{n % 50}", "text")
    try:
        r.incr(f"pyc:e:{n % 50}")
        check("incr of text", "no error", "an error")
    except ResponseError as e:
        check("incr of text", "not an integer" in str(e), True)


threading.Thread(target=wait_for_end, daemon=True).start()
n = 0
try:
    client = connect()
    # It may be sent to replicas, which are a moment behind, so it only reads what was written before.
    reader = connect(read_from_replicas=True)
    client.set("pyc:fixed", "value")
    while reader.get("pyc:fixed") is None and not stopped.is_set():
        time.sleep(0.01)
    while not stopped.is_set():
        if n % 20 == 0:
            topology(client)
        if n % 50 == 49:
            client.close()
            client = connect()
        work(client, n)
        pipeline(client, n)
        errors(client, n)
        check("read by a reader", reader.get("pyc:fixed"), "value")
        n += 1
        print(f"done {passed}", flush=True)
    check("still one node", len(client.get_nodes()), 1)
except RedisError as e:
    failed += 1
    print(f"round {n}: {type(e).__name__}: {e}", flush=True)
print(f"{passed} passed, {failed} failed", flush=True)
sys.exit(1 if failed else 0)
