#!/usr/bin/env python3
"""The test suite of Redis or Valkey itself, against one server and through the proxy before a cluster.

usage: tools/foreign-suite.py --suite CHECKOUT [--server BINARY] [--proxy BINARY] [--cluster-mode] [--base-port N]
                              [--tags TAGS] [--json FILE] [UNIT ...]

CHECKOUT is a source tree of the server (its tests/ is copied, nothing is written there), of the version of BINARY or
near it. Each unit runs in the suite's mode for servers that it did not start, first against a plain server, then against
the proxy before a cluster of 3 + 3, all of them on 127.0.0.1. What passes on the server and not through the proxy
is listed by name with what the suite said. Many of those are what no cluster can do: most tests of several keys take
them from several slots. --cluster-mode leaves out the tests that the suite itself knows of as such.

Left out besides are what the suite tags as slow, and what needs DEBUG or a replica (see --tags). A test that hangs counts as
failed. Needs tclsh, redis-server and redis-cli.
"""
import argparse
import atexit
import collections
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TAGS = "-slow -needs:debug -needs:repl -large-memory"
# Seconds without a finished test after which the one under way is said to hang.
PATIENCE = 45
MOST_HANGS = 12
# What concerns a server process and its files rather than commands.
NOT_RUN = {
    "aofrw", "bigkeys", "cluster", "cluster-scripting", "config-file", "corrupt-dump", "fuzzer", "io-threads", "loadex",
    "memefficiency", "moduleapi", "oom-score-adj", "pendingquerybuf", "printver", "shutdown", "tls", "violations", "wait",
}

# Appended to the suite's own framework. A test that failed leaves its connection in any state, so the next one gets a new
# one, and it may have left the server configured oddly.
OVERLAY = """
proc foreign_client {} {
    set connect [expr {[llength [info commands valkey]] ? "valkey" : "redis"}]
    $connect [srv 0 host] [srv 0 port] 0 $::tls
}
proc foreign_config {} {
    if {!$::external || [llength $::servers] == 0} { return {} }
    set client [foreign_client]
    set config [$client config get *]
    $client close
    return $config
}
proc foreign_repair {before} {
    set client [foreign_client]
    catch { $client script kill }
    catch { $client function kill }
    catch { $client client unpause }
    set now [$client config get *]
    foreach {name value} $before {
        if {[dict exists $now $name] && [dict get $now $name] ne $value} { catch { $client config set $name $value } }
    }
    $client close
    reconnect
}
rename test foreign_test
proc test {name code {okpattern undefined} {tags {}} args} {
    set failed $::num_failed
    set config {}
    catch { set config [foreign_config] }
    uplevel 1 [list foreign_test $name $code $okpattern $tags {*}$args]
    if {$::num_failed != $failed} { catch { foreign_repair $config } }
}
"""


def temporary_dir():
    path = tempfile.mkdtemp(prefix="foreign-suite.")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


class Servers:
    """Processes that end with this program, and the directory they live in."""

    def __init__(self, options, base_port):
        self.options, self.base_port = options, base_port
        self.dir = temporary_dir()
        self.processes = []
        self.port = None
        atexit.register(self.stop)

    def start(self, arguments, name):
        where = os.path.join(self.dir, name)
        shutil.rmtree(where, ignore_errors=True)
        os.makedirs(where)
        with open(os.path.join(where, "output"), "wb") as output:
            process = subprocess.Popen(arguments, cwd=where, stdout=output, stderr=output)
        self.processes.append(process)

    def start_server(self, port, *more):
        self.start([self.options.server, "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                    "--enable-debug-command", "yes", *more], str(port))

    def cli(self, port, *arguments):
        done = subprocess.run(["redis-cli", "-p", str(port), *arguments], capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    def wait(self, what, condition):
        deadline = time.monotonic() + 60
        while not condition():
            if time.monotonic() > deadline or any(p.poll() is not None for p in self.processes):
                raise RuntimeError(f"{what} did not come up; are ports from {self.base_port} on free?")
            time.sleep(0.1)

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
            process.kill()
        for process in self.processes:
            process.wait()
        self.processes.clear()


class Direct(Servers):
    """One plain server."""

    name = "server"

    def up(self):
        self.port = self.base_port
        self.start_server(self.port)
        self.wait("the server", lambda: "PONG" in self.cli(self.port, "ping"))


class Proxied(Servers):
    """The proxy before a cluster."""

    name = "proxy"

    def up(self):
        nodes = [self.base_port + 1 + i for i in range(6)]
        for node in nodes:
            self.start_server(node, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000",
                              "--cluster-port", str(node + 20))
        for node in nodes:
            self.wait(f"node {node}", lambda: "PONG" in self.cli(node, "ping"))
        self.join(nodes)
        self.port = self.base_port
        self.start([self.options.proxy, "-addr", f"127.0.0.1:{self.port}", "-startup-nodes", f"127.0.0.1:{nodes[0]}",
                    "-max-procs", "2", "-logtostderr"], "proxy")
        self.wait("the proxy", lambda: self.cli(self.port, "set", "ready", "1").strip() == "OK")

    def join(self, nodes):
        for i, node in enumerate(nodes[:3]):
            self.cli(node, "cluster", "addslotsrange", str(16384 * i // 3), str(16384 * (i + 1) // 3 - 1))
            self.cli(node, "cluster", "set-config-epoch", str(i + 1))
        for node in nodes[1:]:
            self.cli(node, "cluster", "meet", "127.0.0.1", str(nodes[0]), str(nodes[0] + 20))
        for i, node in enumerate(nodes[3:]):
            primary = self.cli(nodes[i], "cluster", "myid").strip()
            self.wait(f"replica {node}", lambda: self.cli(node, "cluster", "replicate", primary).strip() == "OK")
        for node in nodes:
            self.wait("the cluster", lambda: "cluster_state:ok" in self.cli(node, "cluster", "info")
                      and self.cli(node, "cluster", "nodes").count(" connected") == 6
                      and self.cli(node, "cluster", "nodes").count("slave") == 3)


def run_once(tree, target, unit, options, skip):
    """Output of the suite's runner for one unit."""
    arguments = ["tclsh", "tests/test_helper.tcl", "--host", "127.0.0.1", "--port", str(target.port), "--single", unit,
                 "--durable", "--ignore-digest", "--timeout", str(PATIENCE), "--baseport", str(target.base_port + 60),
                 "--cluster-mode" if options.cluster_mode else "--singledb", "--tags", options.tags]
    for name in skip:
        arguments += ["--skiptest", name]
    environment = dict(os.environ, TERM="dumb", NO_COLOR="1")
    try:
        done = subprocess.run(arguments, cwd=tree, capture_output=True, timeout=900, env=environment)
        output = done.stdout + done.stderr
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"") + b"\n[TIMEOUT]: fifteen minutes"
    return re.sub(r"\x1b\[[0-9;]*m", "", output.decode("utf-8", "replace"))


def results_of(output):
    """(test, ok | err | skip, what was said), in order; the summary at the end repeats the errors."""
    body = output.split("\n                   The End\n")[0]
    found = []
    for block in re.split(r"\n(?=\[)", "\n" + body):
        match = re.match(r"\[(ok|err|skip|ignore|exception)\]: (.*)", block, re.S)
        if not match:
            continue
        kind, text = match.groups()
        if kind == "ok":
            found.append((re.sub(r" \(\d+ ms\)\s*$", "", text.strip()), "ok", ""))
        elif kind in ("err", "exception"):
            name, _, said = text.partition(" in tests/")
            found.append((name.strip(), "err", said.partition("\n")[2].strip()))
        else:
            found.append((text.strip().split(": ")[0], "skip", ""))
    return found


def run_unit(tree, target, unit, options):
    """The results of a unit. A test that hangs is told as failed, and the unit runs again without it."""
    hung = []
    while True:
        output = run_once(tree, target, unit, options, hung)
        if options.outputs:
            path = os.path.join(options.outputs, f"{target.name}-{unit.replace('/', '-')}.{len(hung)}.log")
            with open(path, "w") as f:
                f.write(output)
        stuck = re.search(r"=> \(IN PROGRESS\) (.*)", output)
        if "[TIMEOUT]" not in output and "[exception]" not in output:
            break
        target.stop()
        target.up()
        if not stuck or stuck[1] in hung or len(hung) == MOST_HANGS:
            break
        hung.append(stuck[1])
    results = [r for r in results_of(output) if not (r[1] == "skip" and r[0] in hung)]
    return results + [(name, "err", "it did not end") for name in hung]


def keyed(results):
    """Results by name and occurrence: some names come more than once."""
    seen, by_key = collections.Counter(), {}
    for name, kind, said in results:
        by_key[name, seen[name]] = (kind, said)
        seen[name] += 1
    return by_key


def count(results, kind):
    return sum(1 for r in results if r[1] == kind)


def units_of(suite):
    unit_dir = os.path.join(suite, "tests", "unit")
    found = []
    for folder in ("type", ""):
        names = sorted(os.listdir(os.path.join(unit_dir, folder)))
        found += [os.path.join("unit", folder, n[:-4]) for n in names if n.endswith(".tcl") and n[:-4] not in NOT_RUN]
    return [u for u in found if not u.endswith("list-common")]


def copy_suite(suite, where):
    for part in ("tests", "utils", "src"):
        if os.path.isdir(os.path.join(suite, part)):
            shutil.copytree(os.path.join(suite, part), os.path.join(where, part), symlinks=True,
                            ignore=shutil.ignore_patterns("*.o", "*.a", "*.c", "*.h", "modules", "tmp"))
    os.makedirs(os.path.join(where, "tests", "tmp"), exist_ok=True)
    for name in os.listdir(suite):
        if name.endswith(".conf"):
            shutil.copy(os.path.join(suite, name), where)
    with open(os.path.join(where, "tests", "support", "test.tcl"), "a") as f:
        f.write(OVERLAY)


class Side(threading.Thread):
    """All units against one target."""

    def __init__(self, options, target, units):
        super().__init__(daemon=True)
        self.options, self.target, self.units = options, target, units
        self.tree = temporary_dir()
        self.results, self.done = {}, {unit: threading.Event() for unit in units}

    def run(self):
        try:
            copy_suite(self.options.suite, self.tree)
            self.target.up()
            for unit in self.units:
                self.results[unit] = run_unit(self.tree, self.target, unit, self.options)
                self.done[unit].set()
        finally:
            for event in self.done.values():
                event.set()
            self.target.stop()


def report(units, sides):
    """Prints a line for each unit as soon as both sides have it, then the totals and the differences."""
    heads = [f"{side.target.name + ' ' + kind:>12}" for side in sides for kind in ("pass", "fail", "skip")]
    print(f"{'unit':32}" + "".join(heads), flush=True)
    totals, findings = collections.Counter(), []
    for unit in units:
        for side in sides:
            side.done[unit].wait()
        if any(unit not in side.results for side in sides):
            raise SystemExit(f"foreign-suite: {unit} did not run")
        row = []
        for side in sides:
            for kind in ("ok", "err", "skip"):
                n = count(side.results[unit], kind)
                totals[side.target.name, kind] += n
                row.append(n)
        print(f"{unit:32}" + "".join(f"{n:12}" for n in row), flush=True)
        expected, got = (keyed(side.results[unit]) for side in sides)
        for key, (kind, said) in got.items():
            if kind == "err" and expected.get(key, ("", ""))[0] == "ok":
                findings.append((unit, key[0], said))
        # A test that never came to run because its unit broke off is lost as well.
        findings += [(unit, key[0], "it did not run") for key, (kind, _) in expected.items() if kind == "ok" and key not in got]
    row = [totals[side.target.name, kind] for side in sides for kind in ("ok", "err", "skip")]
    print(f"{'total':32}" + "".join(f"{n:12}" for n in row))
    print(f"\n{len(findings)} tests pass on the server and not through the proxy:")
    for unit, name, said in findings:
        print(f"* {unit}: {name}")
        for line in said.split("\n")[:4]:
            print(f"      {line[:200]}")
    return findings


def main():
    # Servers end with this program, whatever ends it.
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].removeprefix("usage: "))
    parser.add_argument("--suite", required=True)
    parser.add_argument("--server", default="redis-server")
    parser.add_argument("--proxy", default=os.path.join(HERE, "..", "bin", "redis-cluster-proxy"))
    parser.add_argument("--cluster-mode", action="store_true")
    parser.add_argument("--base-port", type=int, default=24000)
    parser.add_argument("--tags", default=TAGS)
    parser.add_argument("--json")
    parser.add_argument("--outputs", help="a directory for what the suite printed")
    parser.add_argument("units", nargs="*")
    options = parser.parse_args()
    for name in ("server", "proxy"):
        path = shutil.which(getattr(options, name))
        if not path:
            raise SystemExit(f"foreign-suite: {getattr(options, name)} is no program")
        setattr(options, name, os.path.abspath(path))
    options.suite = os.path.abspath(options.suite)
    if options.outputs:
        os.makedirs(options.outputs, exist_ok=True)
    units = options.units or units_of(options.suite)
    sides = [Side(options, Direct(options, options.base_port), units),
             Side(options, Proxied(options, options.base_port + 200), units)]
    for side in sides:
        side.start()
    findings = report(units, sides)
    if options.json:
        with open(options.json, "w") as f:
            json.dump({"results": {side.target.name: side.results for side in sides}, "findings": findings}, f, indent=1)


if __name__ == "__main__":
    sys.exit(main())
