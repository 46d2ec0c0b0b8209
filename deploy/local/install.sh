#!/usr/bin/env bash
# Installs what citytally needs on Debian 12 and is not there yet. Run it as often as you like:
# it looks first, and does nothing where nothing is missing.
set -euo pipefail

readonly root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
readonly kafka_lib="${CITYTALLY_KAFKA_LIB:-${XDG_CACHE_HOME:-$HOME/.cache}/citytally/kafka-4.1.1/lib}"
readonly venv="$root/.venv"
readonly work="$(mktemp -d)"
readonly log="$work/log"
readonly mosquitto=/usr/local/lib/citytally/mosquitto # services/operations/stack/mosquitto.py looks here
readonly policy=/usr/sbin/policy-rc.d
readonly cluster_settings=/etc/postgresql-common/createcluster.conf
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

say() { printf 'install: %s\n' "$*"; }

fail() {
    printf 'install: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# Runs one step, silent but for its name; when it fails, shows its last lines and what to do.
step() {
    local title="$1" advice="$2" started=$SECONDS status=0
    shift 2
    say "$title ..."
    set +e # a subshell in a condition would ignore its own set -e
    (set -e; "$@") >"$log" 2>&1
    status=$?
    set -e
    if [ "$status" -ne 0 ]; then
        explain_failure "$title" "$advice"
        exit 1
    fi
    say "$title: done in $((SECONDS - started)) s"
}

# The same for what citytally can do without: says what is missed by it, and goes on.
optional_step() {
    (step "$@") || say "going on without it."
}

explain_failure() {
    local kept
    kept="$(mktemp -t citytally-install-XXXXXX.log)"
    cp "$log" "$kept"
    tail -n 20 "$kept" | sed 's/^/    /' >&2
    printf 'install: %s\n' "\"$1\" failed (all of its output: $kept). What to do: $2" >&2
}

# --- what is there -----------------------------------------------------------------------------

require_debian_12() {
    local id='' version=''
    if [ -r /etc/os-release ]; then
        id="$(. /etc/os-release && printf '%s' "${ID:-}")"
        version="$(. /etc/os-release && printf '%s' "${VERSION_ID:-}")"
    fi
    [ "$id $version" = "debian 12" ] && return
    say "this is ${id:-an unknown system} ${version}, and the installer knows Debian 12 only." >&2
    exit 2
}

package_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]
}

has_java() {
    local major
    major="$(java -version 2>&1 | sed -n '1s/.*version "\([0-9]*\).*/\1/p')" || return 1
    [ "${major:-0}" -ge 17 ]
}

has_timescaledb() {
    [ -e /usr/share/postgresql/15/extension/timescaledb.control ]
}

has_kafka() {
    [ -e "$kafka_lib/.complete" ] || compgen -G "${CITYTALLY_KAFKA_LIB:-/nonexistent}/kafka_2*.jar" >/dev/null
}

has_mosquitto() {
    [ -n "${CITYTALLY_MOSQUITTO:-}" ] || [ -x "$mosquitto" ]
}

find_python() {
    local candidate
    for candidate in python3.11 /usr/bin/python3.11; do
        "$candidate" -c 'import ensurepip, sys; sys.exit(sys.version_info[:2] != (3, 11))' \
            2>/dev/null && printf '%s\n' "$candidate" && return
    done
    return 1
}

lock_digest() {
    cat "$root/requirements.lock" "$root/pyproject.toml" | sha256sum | cut -d ' ' -f 1
}

has_python_environment() {
    [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.citytally-lock" 2>/dev/null)" = "$(lock_digest)" ]
}

# One a line: the Debian packages that are missing for what is missing.
missing_packages() {
    local package wanted=(make mosquitto mosquitto-clients postgresql-15 postgresql-client-15)
    has_java || wanted+=(openjdk-17-jre-headless)
    has_kafka || wanted+=(maven)
    [ -x "$venv/bin/python" ] || find_python >/dev/null || wanted+=(python3.11 python3-venv)
    has_timescaledb || wanted+=(postgresql-server-dev-15 cmake dpkg-dev build-essential
        debian-archive-keyring libssl-dev libkrb5-dev)
    has_mosquitto || wanted+=(cmake dpkg-dev build-essential debian-archive-keyring libssl-dev
        libcjson-dev uthash-dev)
    for package in "${wanted[@]}"; do
        case "$package" in
        make | maven) command -v "${package/maven/mvn}" >/dev/null && continue ;;
        esac
        package_installed "$package" || printf '%s\n' "$package"
    done | sort -u
}

# --- Debian packages, without starting a server of anybody's -----------------------------------

keep_servers_stopped() {
    if [ ! -e "$policy" ]; then
        touch "$work/policy-is-ours"
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
}

create_no_cluster() {
    package_installed postgresql-common || as_root apt-get install -y --no-install-recommends postgresql-common
    cp "$cluster_settings" "$work/createcluster.conf"
    printf '%s\n' 'create_main_cluster = false' | as_root tee -a "$cluster_settings" >/dev/null
}

restore_system() {
    [ ! -e "$work/policy-is-ours" ] || as_root rm -f "$policy"
    [ ! -e "$work/createcluster.conf" ] ||
        as_root cp --no-preserve=all "$work/createcluster.conf" "$cluster_settings"
    rm -f "$work/policy-is-ours" "$work/createcluster.conf"
}

clean_up() {
    restore_system
    rm -rf "$work"
}

# The server headers of the very version that is installed, so that nobody's server is upgraded.
pinned() {
    local version
    version="$(dpkg-query -W -f '${Version}' postgresql-15 2>/dev/null || true)"
    if [ "$1" = postgresql-server-dev-15 ] && package_installed postgresql-15 &&
        apt-cache show "$1=$version" >/dev/null 2>&1; then
        printf '%s=%s\n' "$1" "$version"
    else
        printf '%s\n' "$1"
    fi
}

install_packages() {
    local package wanted=() mosquitto_was_there=yes
    package_installed mosquitto || mosquitto_was_there=no
    as_root apt-get update
    keep_servers_stopped
    package_installed postgresql-15 || create_no_cluster
    for package in "$@"; do wanted+=("$(pinned "$package")"); done
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${wanted[@]}"
    restore_system
    # The package enables its broker at boot; the one that citytally starts is its own.
    if [ "$mosquitto_was_there" = no ] && command -v systemctl >/dev/null; then
        as_root systemctl disable mosquitto.service
    fi
}

# --- TimescaleDB and Mosquitto from source packages of later Debians ---------------------------

debian_mirror() {
    apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Identifier: Packages' |
        awk '$1 == "bookworm" && $2 == "main" { print $3; exit }'
}

# apt with lists and a source of its own: the system's sources and lists stay as they are.
apt_of_later_debian() {
    apt-get -o Dir::Etc::sourcelist="$work/later.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" \
        -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=true "$@"
}

# Unpacks the source of a package ($2) as a suite ($1) has it, and goes there.
enter_source() {
    local mirror
    mirror="$(debian_mirror)"
    [ -n "$mirror" ] || { echo 'no Debian 12 mirror among the apt sources'; return 1; }
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/$2"
    printf 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
        "$mirror" "$1" >"$work/later.list"
    apt_of_later_debian update
    cd "$work/$2"
    apt_of_later_debian source "$2"
    cd "$2"-*/
}

build_timescaledb() {
    enter_source trixie timescaledb
    PATH="/usr/lib/postgresql/15/bin:$PATH" ./bootstrap -DAPACHE_ONLY=1 -DREGRESS_CHECKS=OFF \
        -DWARNINGS_AS_ERRORS=OFF -DCMAKE_BUILD_TYPE=Release \
        -DPG_CONFIG=/usr/lib/postgresql/15/bin/pg_config
    make -C build "-j$(nproc)"
    as_root make -C build install
}

# Nothing but the broker itself, beside the system's own, which stays as it is.
build_mosquitto() {
    enter_source sid mosquitto
    cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -DWITH_LTO=ON -DWITH_TESTS=OFF -DWITH_DOCS=OFF \
        -DWITH_CLIENTS=OFF -DWITH_APPS=OFF -DWITH_PLUGINS=OFF -DWITH_WEBSOCKETS=OFF \
        -DWITH_HTTP_API=OFF -DWITH_CTRL_SHELL=OFF
    make -C build "-j$(nproc)"
    as_root install -D -m 755 build/src/mosquitto "$mosquitto"
}

# --- Kafka's jars and the Python environment ---------------------------------------------------

fetch_kafka() {
    mkdir -p "$kafka_lib"
    mvn -q -B -Dstyle.color=never -f "$root/deploy/local/kafka/pom.xml" dependency:copy-dependencies \
        -DoutputDirectory="$kafka_lib"
    touch "$kafka_lib/.complete"
}

build_python_environment() {
    [ -x "$venv/bin/python" ] || "$(find_python)" -m venv "$venv"
    "$venv/bin/python" -m pip install --require-hashes -r "$root/requirements.lock"
    "$venv/bin/python" -m pip install --no-deps --no-build-isolation -e "$root"
    lock_digest >"$venv/.citytally-lock"
}

require_root_for() {
    [ "$(id -u)" -eq 0 ] && return
    command -v sudo >/dev/null ||
        fail "to install $* it takes root: run this as root, or as a user with sudo"
    sudo -v || fail "sudo refused; ask for the right to install $*, or run this as root"
}

main() {
    local packages
    trap clean_up EXIT
    require_debian_12
    mapfile -t packages < <(missing_packages)
    if [ "${#packages[@]}" -gt 0 ]; then
        require_root_for "${packages[*]}"
        step "Debian packages (${packages[*]})" \
            "look at the lines above; \`apt-get update\` must work, and no other apt may be running" \
            install_packages "${packages[@]}"
    fi
    if ! has_timescaledb; then
        require_root_for TimescaleDB
        step "TimescaleDB, built from Debian 13's source (about a minute)" \
            "the Debian mirror of this machine must carry Debian 13 (trixie) too; then run it again" \
            build_timescaledb
    fi
    if ! has_mosquitto; then
        require_root_for Mosquitto
        optional_step "Mosquitto 2.1, built from Debian's source (half a minute)" \
            "Debian 12's Mosquitto 2.0 serves as well, at twice the cost a message; for 2.1 the Debian mirror must carry sid: run it again then (CITYTALLY_MOSQUITTO=/usr/sbin/mosquitto asks no more)" \
            build_mosquitto
    fi
    has_kafka || step "Kafka 4.1.1 (43 MB from Maven Central)" \
        "\`mvn\` must reach Maven Central or a mirror set in its settings; then run it again" \
        fetch_kafka
    has_python_environment || step "Python environment in .venv, from requirements.lock" \
        "\`pip\` must reach a package index; if .venv is broken, delete it; then run it again" \
        build_python_environment
    say "everything is there"
}

main "$@"
