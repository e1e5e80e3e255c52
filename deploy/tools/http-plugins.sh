#!/usr/bin/env bash
# Installs what the HTTP plugins in tests/http-plugins need, once: Flask and requests for Python, Fastify
# and tsx for TypeScript. Prints the folder: python/bin/python, bin/node, bin/npm and node/node_modules are in it. Where
# METAFLEET_TEST_HTTP names such a folder, nothing is installed.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

sources=$root/tests/http-plugins
usable() {
  [ -x "$1/bin/node" ] &&
  "$1/python/bin/python" -c 'import flask, requests' >/dev/null 2>&1 &&
    [ -f "$1/node/node_modules/fastify/package.json" ] && [ -f "$1/node/node_modules/tsx/package.json" ]
}

if [ -n "${METAFLEET_TEST_HTTP:-}" ]; then
  usable "$METAFLEET_TEST_HTTP" || die "METAFLEET_TEST_HTTP=$METAFLEET_TEST_HTTP lacks node, Flask, requests, Fastify or tsx"
  printf '%s\n' "$METAFLEET_TEST_HTTP"
  exit
fi

home=$tools/http-plugins
mark=$home/sum
wanted=$(cat "$sources/python/requirements.txt" "$root/deploy/tools/node-requirements.txt" "$sources/typescript/package-lock.json" | sha256sum)
if ! { [ "$(cat "$mark" 2>/dev/null)" = "$wanted" ] && usable "$home"; }; then
  need_pip
  say "installing what the HTTP plugins of the tests need in ${home#"$root"/}"
  rm -rf "$home"
  mkdir -p "$home/node" "$home/bin"
  make_venv "$home/python"
  "$home/python/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
    --only-binary=:all: -r "$sources/python/requirements.txt" >&2 ||
    die "pip could not install tests/http-plugins/python/requirements.txt (Python 3.10 or newer is needed)"
  cp "$sources/typescript/package.json" "$sources/typescript/package-lock.json" "$home/node/"
  node=$("$(dirname "${BASH_SOURCE[0]}")/node.sh")
  PATH=$node:$PATH
  ln -s "$node/node" "$home/bin/node"
  ln -s "$node/npm" "$home/bin/npm"
  # No package may run a program of its own while it is installed.
  npm ci --prefix "$home/node" --ignore-scripts --no-audit --no-fund --loglevel=error >&2 ||
    die "npm could not install tests/http-plugins/typescript/package-lock.json; is the package registry reachable?"
  usable "$home" || die "$home is not usable"
  # Last, so that a folder that was left half-made is made anew.
  printf '%s\n' "$wanted" >"$mark"
fi
printf '%s\n' "$home"
