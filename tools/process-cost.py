#!/usr/bin/env python3
"""What a request costs in instructions in the whole process, sockets and all threads included, by callgrind.

usage: tools/process-cost.py [--binary PATH] [--profile FILE] [LOAD ...]     loads: get set get-p1 mget10; all when none is named

Starts a cluster of three primaries and the release binary before it under valgrind, sends each load by redis-benchmark
(50 clients, pipelines of 32, of 8 for MGET), and takes off what a run without requests costs. With --profile and one load the
profile is left in FILE for callgrind_annotate. On a busy machine figures are higher, as less comes together in a turn.
Needs valgrind, redis-server, redis-cli and redis-benchmark.
"""
import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
COMMON = ["-c", "50", "-r", "1000000"]
# By load: how many requests, and what redis-benchmark is told.
LOADS = {
    "get": (400_000, ["-P", "32", "-t", "get"]),
    "set": (400_000, ["-P", "32", "-d", "3", "-t", "set"]),
    "get-p1": (60_000, ["-t", "get"]),
    "mget10": (40_000, ["-P", "8", "MGET", *["key:__rand_int__"] * 10]),
}


def free_ports(count):
    """Ports below those that the system gives away, whose cluster bus ports are free, too."""
    found = []
    for port in range(17000, 22000):
        try:
            for number in (port, port + 10000):
                with socket.socket() as s:
                    s.bind(("127.0.0.1", number))
        except OSError:
            continue
        found.append(port)
        if len(found) == count:
            return found
    sys.exit("no free ports")


def wait_for(port):
    for _ in range(600):
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


def start_cluster(ports, folder, processes):
    for port in ports:
        os.mkdir(f"{folder}/{port}")
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", f"{folder}/{port}", "--save", "",
                   "--cluster-enabled", "yes"]
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
    for port in ports:
        wait_for(port)
    addresses = [f"127.0.0.1:{port}" for port in ports]
    subprocess.run(["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"], check=True, stdout=subprocess.DEVNULL)
    while "cluster_state:ok" not in subprocess.run(["redis-cli", "-p", str(ports[0]), "cluster", "info"], check=True,
                                                   capture_output=True, text=True).stdout:
        time.sleep(0.1)


def collected(binary, port, node, load, profile, processes):
    """Instructions of a run of the proxy under this load."""
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}", binary, "-addr", f"127.0.0.1:{port}",
               "-startup-nodes", f"127.0.0.1:{node}", "-max-procs", "1", "-log_dir", "", "-stderrthreshold", "FATAL"]
    proxy = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    processes.append(proxy)
    wait_for(port)
    while subprocess.run(["redis-cli", "-p", str(port), "-e", "get", "key"], capture_output=True).returncode:
        time.sleep(0.1)
    if load:
        subprocess.run(["redis-benchmark", "-p", str(port), "-q", *load], check=True, stdout=subprocess.DEVNULL)
    proxy.terminate()
    return int(re.search(r"Collected : (\d+)", proxy.communicate()[1]).group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.path.join(ROOT, "target", "release", "redis-cluster-proxy"))
    parser.add_argument("--profile", default="/dev/null")
    parser.add_argument("loads", nargs="*", metavar="LOAD")
    options = parser.parse_args()
    if unknown := set(options.loads) - set(LOADS):
        parser.error(f"no such load: {', '.join(unknown)}")
    processes = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            *ports, port = free_ports(4)
            start_cluster(ports, folder, processes)
            run = lambda load, profile: collected(options.binary, port, ports[0], load, profile, processes)
            idle = run([], "/dev/null")
            for name in options.loads or LOADS:
                requests, load = LOADS[name]
                cost = (run([*COMMON, "-n", str(requests), *load], options.profile) - idle) / requests
                print(f"{name:10}{cost:9.1f} instructions per request", flush=True)
        finally:
            for process in processes:
                process.kill()
                process.wait()


main()
