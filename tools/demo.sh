#!/usr/bin/env bash
# A cluster of three primaries and three replicas on this host, with the proxy before it.
#
#   PORT         where the proxy listens (8088)
#   DEMO_EXIT=1  ends after the show instead of waiting for Ctrl-C
#   DEMO_BINARY  a proxy that is built already
#
# Everything is started by this script, lives in one temporary directory and ends with it.
set -euo pipefail
cd "$(dirname "$0")/.."

port=${PORT:-8088}
binary=${DEMO_BINARY:-bin/redis-cluster-proxy}
dir=
pids=()

fail() {
    echo "demo: $*" >&2
    exit 1
}

# Ends what was started, whatever the way out. A second Ctrl-C must not interrupt this.
cleanup() {
    trap '' INT TERM HUP
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    [ -z "$dir" ] || rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 0' INT TERM HUP

# Whether something listens on the port.
listens() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# tries N COMMAND...: runs COMMAND up to N times, a tenth of a second apart, until it succeeds.
tries() {
    local n=$1
    shift
    while ! "$@" >/dev/null 2>&1; do
        n=$((n - 1))
        [ "$n" -gt 0 ] || return 1
        sleep 0.1
    done
}

install_servers() {
    command -v redis-server >/dev/null && command -v redis-cli >/dev/null && return
    echo "demo: installing redis-server"
    local root=()
    [ "$(id -u)" -eq 0 ] || root=(sudo)
    "${root[@]}" apt-get update -q
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends redis-server redis-tools
}

# Six free ports in a row (and their cluster bus ports, 10000 above) as `ports`.
pick_ports() {
    local base i
    for base in $(seq $((7000 + RANDOM % 200 * 10)) 10 9990); do
        for i in 0 1 2 3 4 5; do
            if listens $((base + i)) || listens $((base + i + 10000)) || [ $((base + i)) -eq "$port" ]; then continue 2; fi
        done
        ports=($(seq "$base" $((base + 5))))
        return
    done
    fail "no free ports between 7000 and 9999"
}

start_cluster() {
    local p
    for p in "${ports[@]}"; do
        mkdir "$dir/$p"
        redis-server --port "$p" --bind 127.0.0.1 --dir "$dir/$p" --save "" --appendonly no --cluster-enabled yes \
            --cluster-node-timeout 2000 --pidfile "$dir/$p/pid" >"$dir/$p/log" 2>&1 &
        pids+=($!)
    done
    for p in "${ports[@]}"; do
        tries 100 redis-cli -p "$p" ping || fail "the server on port $p did not start: $(tail -n 3 "$dir/$p/log")"
    done
    redis-cli --cluster create "${ports[@]/#/127.0.0.1:}" --cluster-replicas 1 --cluster-yes >"$dir/create" ||
        fail "the cluster was not made: $(tail -n 3 "$dir/create")"
    for p in "${ports[@]}"; do
        tries 200 is_ok "$p" || fail "the cluster did not come up on port $p"
    done
}

is_ok() {
    redis-cli -p "$1" cluster info | grep -q cluster_state:ok
}

start_proxy() {
    mkdir "$dir/proxy"
    "$binary" -addr "127.0.0.1:$port" -startup-nodes "127.0.0.1:${ports[0]},127.0.0.1:${ports[1]}" \
        -log_dir "$dir/proxy" >"$dir/proxy/output" 2>&1 &
    pids+=($!)
    tries 100 serves || fail "the proxy did not start: $(tail -n 5 "$dir/proxy/output")"
}

serves() {
    [ "$(redis-cli -p "$port" set demo:ready 1)" = OK ]
}

# Shows a command and what it answers.
show() {
    echo "\$ redis-cli -p $port $*"
    redis-cli -p "$port" "$@"
}

listens "$port" && fail "port $port is taken; choose another one: make demo PORT=n"
install_servers
[ -n "${DEMO_BINARY:-}" ] || make --no-print-directory build
dir=$(mktemp -d "${TMPDIR:-/tmp}/redis-cluster-proxy-demo.XXXXXX")
pick_ports
echo "demo: starting a cluster on ports ${ports[*]}"
start_cluster
echo "demo: starting the proxy on port $port"
start_proxy
echo
show SET greeting "hello from a cluster"
show GET greeting
show MSET a 1 b 2 c 3
show MGET a b c
echo
echo "The proxy is at 127.0.0.1:$port, in front of a cluster at ports ${ports[*]}."
echo "Try in another terminal:"
echo "  redis-cli -p $port"
echo "  redis-benchmark -p $port -t set,get -P 32"
if [ "${DEMO_EXIT:-0}" = 1 ]; then
    exit 0
fi
echo "Ctrl-C ends everything."
wait -n "${pids[@]}" || true
fail "a server or the proxy has ended"
