#!/usr/bin/env bash
# Installs what the HTTP plugins in tests/http-plugins need, once: Flask and requests for Python, Fastify
# and tsx for TypeScript. Prints the folder: python/bin/python and node/node_modules are in it. Where
# METAFLEET_TEST_HTTP names such a folder, nothing is installed.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

sources=$root/tests/http-plugins
usable() {
  "$1/python/bin/python" -c 'import flask, requests' >/dev/null 2>&1 &&
    [ -f "$1/node/node_modules/fastify/package.json" ] && [ -f "$1/node/node_modules/tsx/package.json" ]
}

if [ -n "${METAFLEET_TEST_HTTP:-}" ]; then
  usable "$METAFLEET_TEST_HTTP" || die "METAFLEET_TEST_HTTP=$METAFLEET_TEST_HTTP lacks Flask, requests, Fastify or tsx"
  printf '%s\n' "$METAFLEET_TEST_HTTP"
  exit
fi

home=$tools/http-plugins
mark=$home/sum
wanted=$(cat "$sources/python/requirements.txt" "$sources/typescript/package-lock.json" | sha256sum)
if ! { [ "$(cat "$mark" 2>/dev/null)" = "$wanted" ] && usable "$home"; }; then
  need_pip
  have node && have npm || apt_install nodejs npm ||
    die "node and npm are missing; Debian or Ubuntu: apt-get install nodejs npm"
  version_at_least "$(node --version | tr -d v)" 20.0.0 || die "node 20 or newer is needed, this is $(node --version)"
  say "installing what the HTTP plugins of the tests need in ${home#"$root"/}"
  rm -rf "$home"
  mkdir -p "$home/node"
  # Debian and Ubuntu keep a part of venv in a package of its own.
  if ! python3 -m venv "$home/python" >/dev/null 2>&1; then
    apt_install python3-venv && python3 -m venv "$home/python" >&2 ||
      die "python3 cannot make virtual environments; on Debian or Ubuntu: apt-get install python3-venv"
  fi
  "$home/python/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
    --only-binary=:all: -r "$sources/python/requirements.txt" >&2 ||
    die "pip could not install tests/http-plugins/python/requirements.txt (Python 3.10 or newer is needed)"
  cp "$sources/typescript/package.json" "$sources/typescript/package-lock.json" "$home/node/"
  # No package may run a program of its own while it is installed.
  npm ci --prefix "$home/node" --ignore-scripts --no-audit --no-fund --loglevel=error >&2 ||
    die "npm could not install tests/http-plugins/typescript/package-lock.json; is the package registry reachable?"
  usable "$home" || die "$home is not usable"
  # Last, so that a folder that was left half-made is made anew.
  printf '%s\n' "$wanted" >"$mark"
fi
printf '%s\n' "$home"
