#!/usr/bin/env python3
"""What the engine costs in instructions per request, by callgrind: the same figure on any machine of one kind.

usage: tools/instructions.py [--load NAME ...]      a table of the loads of benches/engine.rs
       tools/instructions.py --check                compares it with benches/instructions.txt
       tools/instructions.py --renew                writes benches/instructions.txt
       tools/instructions.py --scale                how cost grows with clients, nodes, bytes and idle clients

A load runs twice, with few requests and with many; the difference is what the requests cost, without the start. The
check fails when a load costs more than TOLERANCE above what is recorded, or above twice of that if the compiler is not
the one of the record. It also tells when a load has become much cheaper: then --renew, so that the gain is kept.
Needs valgrind.
"""
import argparse
import concurrent.futures
import json
import os
import re
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
RECORD = os.path.join(ROOT, "benches", "instructions.txt")
TOLERANCE = 0.03
HEAD = """# User-space instructions per request of the loads of benches/engine.rs (x86-64, callgrind); GET of 10 in an MGET is one.
# Checked by `make test-cost`; `tools/instructions.py --renew` writes this file.
"""

# How cost grows: title, load, option, values, what the dearest may cost beside the first.
SCALES = [
    ("clients", "get-p32", "--clients", [10, 100, 1000], 1.15),
    ("clients, no pipeline", "get-p1", "--clients", [10, 100, 1000, 10000], 1.15),
    ("primaries", "get-p32", "--nodes", [3, 10, 30, 60], 1.15),
    ("idle clients", "get-p32", "--idle", [0, 1000, 10000], 1.15),
    ("idle clients, no pipeline", "get-p1", "--idle", [0, 1000, 10000], 1.15),
    ("bytes, GET", "get-1k-p16", "--large", [1024, 4096, 16384, 65536], None),
    ("bytes, SET", "set-1k-p16", "--large", [1024, 4096, 16384, 65536], None),
]


def build():
    """The bench binary."""
    command = ["cargo", "bench", "--profile", "count", "--bench", "engine", "--no-run", "--message-format", "json"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in output.splitlines():
        message = json.loads(line)
        if message.get("executable") and message.get("target", {}).get("name") == "engine":
            return message["executable"]
    sys.exit("cargo built no bench")


def collected(binary, load, requests, options):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", binary, "--load", load,
               "--requests", str(requests), *map(str, options)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")
    done = int(re.search(r"(\d+) requests", result.stdout).group(1))
    return int(re.search(r"Collected : (\d+)", result.stderr).group(1)), done


def per_request(binary, load, few, *options):
    (less, begun), (more, done) = (collected(binary, load, n, options) for n in (few, 3 * few))
    return (more - less) / (done - begun)


def loads(binary):
    output = subprocess.run([binary, "--list"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in output.splitlines()]


def measure(binary, names):
    """Instructions per request by load."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        few = {name: 2000 if "mget" in name else 8000 for name in names}
        return dict(zip(names, pool.map(lambda name: per_request(binary, name, few[name]), names)))


def compiler():
    return subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.strip()


def show(figures):
    for name, cost in figures.items():
        print(f"{name:16}{cost:9.1f}", flush=True)
    if "mget10-p8" in figures and "get-p32" in figures:
        print(f"an MGET of 10 costs {figures['mget10-p8'] / figures['get-p32']:.2f} GETs")


def renew(figures):
    with open(RECORD, "w") as f:
        f.write(HEAD + f"compiler        {compiler()}\n")
        f.writelines(f"{name:16}{cost:.0f}\n" for name, cost in figures.items())
    print(f"wrote {os.path.relpath(RECORD)}")


def recorded():
    with open(RECORD) as f:
        rows = [line.split(None, 1) for line in f if not line.startswith("#")]
    found = {name: value.strip() for name, value in rows}
    return found.pop("compiler"), {name: float(value) for name, value in found.items()}


def check(figures):
    made_by, limits = recorded()
    tolerance = TOLERANCE if made_by == compiler() else 2 * TOLERANCE
    if set(limits) != set(figures):
        sys.exit("benches/instructions.txt has other loads: tools/instructions.py --renew")
    faults = []
    for name, cost in figures.items():
        change = cost / limits[name] - 1
        print(f"{name:16}{cost:9.1f}   recorded {limits[name]:7.0f}   {change:+.1%}", flush=True)
        if change > tolerance:
            faults.append(name)
        elif change < -2 * tolerance:
            print(f"                much cheaper than recorded: tools/instructions.py --renew keeps the gain")
    if faults:
        sys.exit(f"error: more than {tolerance:.0%} above benches/instructions.txt: {', '.join(faults)}")


def scale(binary):
    """The tables of how cost grows. Bytes are told per byte, as what larger values cost more than the smallest."""
    faults = []
    for title, load, option, values, spread in SCALES:
        # At least a round, in which each client sends its pipeline once.
        pipeline = int(load.rsplit("-p", 1)[1])
        few = {value: max(1600, value * pipeline if option == "--clients" else 0) for value in values}
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            costs = list(pool.map(lambda v: per_request(binary, load, few[v], option, v), values))
        print(f"{title} ({load})", flush=True)
        print("  " + "".join(f"{value:>10}" for value in values))
        print("  " + "".join(f"{cost:>10.0f}" for cost in costs), flush=True)
        if spread is None:
            steps = [(c - costs[0]) / (v - values[0]) for v, c in list(zip(values, costs))[1:]]
            print("   per byte " + "".join(f"{step:>10.3f}" for step in steps), flush=True)
        elif max(costs) > spread * costs[0]:
            faults.append(title)
    if faults:
        sys.exit(f"error: not flat: {', '.join(faults)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", action="append", help="only these loads")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true")
    what.add_argument("--renew", action="store_true")
    what.add_argument("--scale", action="store_true")
    parser.add_argument("--binary", help="a bench that is built already")
    options = parser.parse_args()
    binary = options.binary or build()
    if options.scale:
        return scale(binary)
    figures = measure(binary, options.load or loads(binary))
    if options.renew:
        renew(figures)
    elif options.check:
        check(figures)
    else:
        show(figures)


main()
