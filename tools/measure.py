#!/usr/bin/env python3
"""What a request costs: CPU time of the proxy beside a TCP relay that understands nothing (haproxy, mode tcp).

usage: tools/measure.py [--scale F] [--peer NAME=PORT:PID ...]

Starts three primaries, one plain server with the relay before it, and bin/redis-cluster-proxy with one worker before the
cluster, all on 127.0.0.1. Each load runs three times on each of them in turn; printed are the medians of CPU
microseconds per request (all threads of the process) and the median of the ratios within one turn. A peer is another
proxy of the same cluster that runs already. Needs redis-server, redis-benchmark, redis-cli and haproxy.
"""
import argparse
import atexit
import csv
import io
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")
BINARY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bin", "redis-cluster-proxy")
LOADS = [
    ("P1, 50 clients, 3 B", ["-c", "50", "-P", "1", "-r", "1000000", "-t", "set,get"], 60_000),
    ("P32, 50 clients, 3 B", ["-c", "50", "-P", "32", "-r", "1000000", "-t", "set,get"], 600_000),
    ("P100, 500 clients, 3 B", ["-c", "500", "-P", "100", "-r", "10000", "-t", "set,get"], 900_000),
    ("P16, 50 clients, 1 KiB", ["-c", "50", "-P", "16", "-r", "100000", "-d", "1024", "-t", "set,get"], 200_000),
]
IDLE_CLIENTS = 5000


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
    """Ports that are free now, and whose cluster bus ports are."""
    found, port = [], 21000 + os.getpid() % 5000
    while len(found) < count:
        port += 1
        if all(is_free(p) for p in (port, port + 10000)):
            found.append(port)
    return found


def is_free(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) != 0


def wait_for(port):
    end = time.monotonic() + 10
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
    start("server", port, "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "",
          "--appendonly", "no", "--logfile", "log", *more)


def start_all(folder):
    """The relay and the proxy, each with its servers behind it."""
    *nodes, alone, relay, proxy = free_ports(6)
    for port in nodes:
        start_server(port, f"{folder}/{port}", "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
    addresses = [f"127.0.0.1:{port}" for port in nodes]
    subprocess.run(["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"], check=True,
                   stdout=subprocess.DEVNULL)
    start_server(alone, f"{folder}/{alone}")
    with open(f"{folder}/relay.cfg", "w") as f:
        f.write("global\n nbthread 1\n maxconn 4000\ndefaults\n mode tcp\n timeout connect 3s\n timeout client 1h\n"
                f" timeout server 1h\nlisten r\n bind 127.0.0.1:{relay}\n server s 127.0.0.1:{alone}\n")
    return [
        start("relay", relay, "haproxy", "-db", "-f", f"{folder}/relay.cfg"),
        start("proxy", proxy, BINARY, "-addr", f"127.0.0.1:{proxy}", "-startup-nodes", ",".join(addresses),
              "-max-procs", "1", "-logtostderr"),
    ]


def run(process, arguments, requests):
    """CPU microseconds per request, and the requests per second of the slowest command."""
    before = process.cpu_seconds()
    command = ["redis-benchmark", "-p", str(process.port), "-n", str(requests), "--csv", *arguments]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout
    rows = list(csv.reader(io.StringIO(output)))[1:]
    used = process.cpu_seconds() - before
    return used / (requests * len(rows)) * 1e6, min(float(row[1]) for row in rows)


def measure_load(processes, name, arguments, requests):
    turns = [[run(p, arguments, requests) for p in processes] for _ in range(3)]
    cells = []
    for i, process in enumerate(processes):
        cost = statistics.median(turn[i][0] for turn in turns)
        ratio = statistics.median(turn[i][0] / turn[0][0] for turn in turns)
        cells.append(f"{process.name} {cost:.2f} us ({ratio:.2f})")
    print(f"{name:24}" + "   ".join(cells), flush=True)


def measure_memory(proxy):
    before = proxy.rss_kib()
    clients = []
    for _ in range(IDLE_CLIENTS):
        client = socket.create_connection(("127.0.0.1", proxy.port))
        client.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
        client.recv(64)
        clients.append(client)
    print(f"memory per idle client  {(proxy.rss_kib() - before) / IDLE_CLIENTS:.2f} KiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the number of requests")
    parser.add_argument("--peer", action="append", default=[], help="NAME=PORT:PID of another proxy to measure too")
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="measure-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    processes = start_all(folder)
    for peer in options.peer:
        name, place = peer.split("=")
        processes.append(Process(name, *map(int, place.split(":"))))
    time.sleep(1)
    print(f"memory after start      {processes[1].rss_kib()} KiB")
    print(f"size of the binary      {os.path.getsize(BINARY) // 1024} KiB")
    for name, arguments, requests in LOADS:
        measure_load(processes, name, arguments, max(20_000, int(requests * options.scale)))
    measure_memory(processes[1])


main()
