#!/usr/bin/env python3
"""What a request costs: CPU time of the proxy and of others beside a TCP relay that understands nothing (haproxy, mode tcp).

usage: tools/measure.py [--scale F] [--turns N] [--only LOAD] [--latency] [--memtier PATH] [--publish]
                        [--peer NAME=PORT:PID ...] [--predixy PATH] [--envoy PATH] [--nutcracker PATH]

Starts three primaries with the proxies before them, each with one worker, and one plain server with the relay (and
nutcracker, which knows no cluster) before it, all on 127.0.0.1. Each load runs in turns: once on each of them, N times.
Printed are the medians of CPU microseconds per request (all threads of the process) and of the ratios to the relay within
one turn, requests per second, and how much of a core the process was busy meanwhile: below 100 % something else was the
limit. --latency adds latency at a fixed rate (benches/latency.rs, built by rustc), --memtier the same as that
memtier_benchmark sees it. --publish writes
benches/measured.json, benches/measured.svg and the table in README.md. A peer is another proxy of the same cluster that
runs already. Needs redis-server, redis-benchmark, redis-cli and haproxy; others are left out where they are not found.
"""
import argparse
import atexit
import csv
import io
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.insert(0, os.path.join(ROOT, "tools"))
import measured  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
BINARY = os.path.join(ROOT, "bin", "redis-cluster-proxy")
KEY = "key:__rand_int__"
P8 = ["-c", "50", "-P", "8", "-r", "1000000"]
LOADS = [
    ("P1, 50 clients, 3 B", ["-c", "50", "-P", "1", "-r", "1000000", "-t", "set,get"], 60_000),
    ("P32, 50 clients, 3 B", ["-c", "50", "-P", "32", "-r", "1000000", "-t", "set,get"], 600_000),
    ("P100, 500 clients, 3 B", ["-c", "500", "-P", "100", "-r", "10000", "-t", "set,get"], 900_000),
    ("P16, 50 clients, 1 KiB", ["-c", "50", "-P", "16", "-r", "100000", "-d", "1024", "-t", "set,get"], 200_000),
    ("GET, P8", [*P8, "GET", KEY], 200_000),
    ("MGET of 10 keys, P8", [*P8, "MGET", *[KEY] * 10], 50_000),
]
CONNECTIONS = 5000
IDLE_CLIENTS = 5000
GET = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"


class Process:
    """A process that listens on a port, and how much CPU and memory it has used."""

    def __init__(self, name, port, pid):
        self.name, self.port, self.pid = name, port, pid

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss_kib(self):
        with open(f"/proc/{self.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


def free_ports(count):
    """Ports that are free now, and whose cluster bus ports are, below those that the system gives to clients."""
    found, port = [], 11000 + os.getpid() % 10000
    while len(found) < count:
        port += 1
        if all(is_free(p) for p in (port, port + 10000)):
            found.append(port)
    return found


def is_free(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) != 0


def wait_for(port):
    end = time.monotonic() + 30
    while is_free(port):
        if time.monotonic() > end:
            sys.exit(f"nothing listens on port {port}")
        time.sleep(0.05)


def start(name, port, *command):
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(child.wait)
    atexit.register(child.kill)
    wait_for(port)
    return Process(name, port, child.pid)


def start_server(port, folder, *more):
    os.makedirs(folder)
    return start("server", port, "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder,
                 "--save", "", "--appendonly", "no", "--logfile", "log", *more)


def written(path, text):
    with open(path, "w") as f:
        f.write(text)
    return path


def relay(folder, port, server):
    config = ("global\n nbthread 1\n maxconn 6000\ndefaults\n mode tcp\n maxconn 6000\n timeout connect 3s\n"
              f" timeout client 1h\n timeout server 1h\nlisten r\n bind 127.0.0.1:{port}\n server s 127.0.0.1:{server}\n")
    return start("haproxy", port, "haproxy", "-db", "-f", written(f"{folder}/relay.cfg", config))


def nutcracker(program, folder, port, server):
    config = (f"pool:\n  listen: 127.0.0.1:{port}\n  redis: true\n  hash: fnv1a_64\n  distribution: ketama\n"
              f"  servers:\n   - 127.0.0.1:{server}:1\n")
    return start("nutcracker", port, program, "-c", written(f"{folder}/nutcracker.yml", config), "-s", str(port + 1))


def predixy(program, folder, port, nodes):
    servers = "".join(f"        + 127.0.0.1:{node}\n" for node in nodes)
    config = (f"Bind 127.0.0.1:{port}\nWorkerThreads 1\nAuthority {{\n    Auth {{\n        Mode write\n    }}\n}}\n"
              f"ClusterServerPool {{\n    Servers {{\n{servers}    }}\n}}\n")
    return start("predixy", port, program, written(f"{folder}/predixy.conf", config))


def envoy(program, folder, port, nodes):
    endpoints = "".join("\n            - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: "
                        f"{node} }} }} }}" for node in nodes)
    redis = "envoy.extensions.filters.network.redis_proxy.v3"
    config = f"""
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.redis_proxy
        typed_config:
          "@type": type.googleapis.com/{redis}.RedisProxy
          stat_prefix: redis
          settings: {{ op_timeout: 5s, enable_redirection: true, enable_hashtagging: true, max_buffer_size_before_flush: 8192,
                       buffer_flush_timeout: 0.0002s }}
          prefix_routes: {{ catch_all_route: {{ cluster: nodes }} }}
  clusters:
  - name: nodes
    connect_timeout: 3s
    lb_policy: CLUSTER_PROVIDED
    cluster_type:
      name: envoy.clusters.redis
      typed_config:
        "@type": type.googleapis.com/google.protobuf.Struct
        value: {{ cluster_refresh_rate: 5s }}
    load_assignment:
      cluster_name: nodes
      endpoints:
        - lb_endpoints:{endpoints}
"""
    return start("envoy", port, program, "-c", written(f"{folder}/envoy.yaml", config), "--concurrency", "1",
                 "--log-level", "error")


def start_all(folder, options):
    """The plain server, and all that is measured: the relay first, then the proxy."""
    *nodes, alone, first, second, third, fourth, fifth, _ = free_ports(10)
    for port in nodes:
        start_server(port, f"{folder}/{port}", "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
    addresses = [f"127.0.0.1:{port}" for port in nodes]
    subprocess.run(["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"], check=True,
                   stdout=subprocess.DEVNULL)
    server = start_server(alone, f"{folder}/{alone}")
    processes = [
        relay(folder, first, alone),
        start("proxy", second, BINARY, "-addr", f"127.0.0.1:{second}", "-startup-nodes", ",".join(addresses),
              "-max-procs", "1", "-logtostderr"),
    ]
    for make, program, port, behind in ((predixy, options.predixy, third, nodes), (envoy, options.envoy, fourth, nodes),
                                        (nutcracker, options.nutcracker, fifth, alone)):
        if program and shutil.which(program):
            processes.append(make(program, folder, port, behind))
        else:
            print(f"{make.__name__} is not there and left out")
    for peer in options.peer:
        name, place = peer.split("=")
        processes.append(Process(name, *map(int, place.split(":"))))
    return server, processes


def run(process, arguments, requests):
    """CPU microseconds per request, the requests per second of the slowest command, and the share of a core that was used."""
    before, begin = process.cpu_seconds(), time.monotonic()
    command = ["redis-benchmark", "-p", str(process.port), "-n", str(requests), "--csv", *arguments]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout
    rows = list(csv.reader(io.StringIO(output)))[1:]
    used, took = process.cpu_seconds() - before, time.monotonic() - begin
    return used / (requests * len(rows)) * 1e6, min(float(row[1]) for row in rows), used / took


def connect_and_close(process, _arguments, connections):
    """CPU microseconds of a connection with one request, connections per second, and the share of a core."""
    before, begin = process.cpu_seconds(), time.monotonic()
    for _ in range(connections):
        with socket.create_connection(("127.0.0.1", process.port)) as client:
            client.sendall(GET)
            client.recv(64)
    used, took = process.cpu_seconds() - before, time.monotonic() - begin
    return used / connections * 1e6, connections / took, used / took


def measure(processes, name, how, arguments, requests, turns):
    """By process: the medians of cost, of its ratio to the first process, of requests per second and of the share of a core."""
    seen = [[how(p, arguments, requests) for p in processes] for _ in range(turns)]
    found = {}
    for i, process in enumerate(processes):
        found[process.name] = {
            "us": round(statistics.median(turn[i][0] for turn in seen), 3),
            "ratio": round(statistics.median(turn[i][0] / turn[0][0] for turn in seen), 3),
            "per_second": round(statistics.median(turn[i][1] for turn in seen)),
            "busy": round(statistics.median(turn[i][2] for turn in seen), 2),
        }
    cells = [f"{k} {v['us']:.2f} us ({v['ratio']:.2f}) {v['per_second'] // 1000}k/s {v['busy']:.0%}" for k, v in found.items()]
    print(f"{name:24}" + "   ".join(cells), flush=True)
    return found


def memory_per_idle_client(process):
    before = process.rss_kib()
    clients = []
    for _ in range(IDLE_CLIENTS):
        client = socket.create_connection(("127.0.0.1", process.port))
        client.sendall(GET)
        client.recv(64)
        clients.append(client)
    grown = process.rss_kib() - before
    for client in clients:
        client.close()
    return round(grown / IDLE_CLIENTS, 2)


def measure_latency(server, processes, folder):
    """Microseconds by target and percentile; the first one is the plain server itself."""
    program = f"{folder}/latency"
    subprocess.run(["rustc", "--edition", "2021", "-O", "-o", program, f"{ROOT}/benches/latency.rs"], check=True)
    targets = [f"{p.name}={p.port}" for p in (server, *processes)]
    output = subprocess.run([program, *targets], stdout=subprocess.PIPE, text=True, check=True).stdout
    print(output, end="", flush=True)
    rows = [line.replace("(", " ").replace(")", " ").split() for line in output.splitlines()]
    return {row[0]: {"p50": float(row[2]), "p50_ratio": float(row[4]), "p99": float(row[6]), "p99_ratio": float(row[8])}
            for row in rows}


def measure_memtier(program, targets, turns):
    """As measure_latency, by memtier_benchmark: 20 clients with 500 requests/s each."""
    fields = ("p50", "p99")
    seen = []
    for _ in range(turns):
        seen.append([])
        for target in targets:
            command = [program, "-p", str(target.port), "-t", "1", "-c", "20", "--rate-limiting=500", "--test-time=5",
                       "--ratio=1:1", "-d", "3", "--hide-histogram", "--print-percentiles=50,99"]
            output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
            totals = next(line.split() for line in output.splitlines() if line.startswith("Totals"))
            seen[-1].append(dict(zip(fields, (float(totals[5]) * 1000, float(totals[6]) * 1000))))
    found = {}
    for i, target in enumerate(targets):
        found[target.name] = {f: round(statistics.median(turn[i][f] for turn in seen)) for f in fields}
        for f in fields:
            found[target.name][f"{f}_ratio"] = round(statistics.median(turn[i][f] / turn[0][f] for turn in seen), 2)
        print(f"memtier, {target.name:12}" + "   ".join(f"{f} {found[target.name][f]} us "
              f"({found[target.name][f + '_ratio']:.2f})" for f in fields), flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the number of requests")
    parser.add_argument("--turns", type=int, default=3, help="how often each load runs")
    parser.add_argument("--only", help="loads whose name contains this")
    parser.add_argument("--latency", action="store_true", help="latency at a fixed rate, too")
    parser.add_argument("--memtier", metavar="PATH", help="memtier_benchmark, for latency at a fixed rate")
    parser.add_argument("--publish", action="store_true", help="write the figures into the project")
    parser.add_argument("--peer", action="append", default=[], help="NAME=PORT:PID of another proxy to measure too")
    for program in ("predixy", "envoy", "nutcracker"):
        parser.add_argument(f"--{program}", default=program, metavar="PATH")
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="measure-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server, processes = start_all(folder, options)
    time.sleep(3)
    found = {"loads": {}, "start_kib": {p.name: p.rss_kib() for p in processes},
             "binary_kib": os.path.getsize(BINARY) // 1024}
    print("memory after start      " + "   ".join(f"{k} {v} KiB" for k, v in found["start_kib"].items()))
    print(f"size of the binary      {found['binary_kib']} KiB", flush=True)
    if not options.only:
        # Before the loads, which leave free memory behind.
        found["idle_kib"] = {p.name: memory_per_idle_client(p) for p in processes if p.name != "nutcracker"}
        print("memory per idle client  " + "   ".join(f"{k} {v} KiB" for k, v in found["idle_kib"].items()), flush=True)
    for name, arguments, requests in LOADS:
        if not options.only or options.only in name:
            requests = max(20_000, int(requests * options.scale))
            found["loads"][name] = measure(processes, name, run, arguments, requests, options.turns)
    if not options.only:
        found["loads"]["connect, GET, close"] = measure(processes, "connect, GET, close", connect_and_close, [],
                                                        int(CONNECTIONS * options.scale), options.turns)
    if options.latency:
        found["latency"] = measure_latency(server, processes, folder)
    if options.memtier:
        found["memtier"] = measure_memtier(options.memtier, (server, *processes), options.turns)
    if options.publish:
        with open(f"{ROOT}/benches/measured.json", "w") as f:
            json.dump(found, f, indent=1)
        measured.publish(found, ROOT)


main()
