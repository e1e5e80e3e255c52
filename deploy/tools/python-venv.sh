#!/usr/bin/env bash
# Prints the path of a Python that has what the worker in tests/protocol needs: the one that
# METAFLEET_TEST_PYTHON names, else one of its own in .tools/python, which it makes once.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

requirements=$root/tests/protocol/requirements.txt
usable() { "$1" -c 'import nats' >/dev/null 2>&1; }

if [ -n "${METAFLEET_TEST_PYTHON:-}" ]; then
  usable "$METAFLEET_TEST_PYTHON" ||
    die "METAFLEET_TEST_PYTHON=$METAFLEET_TEST_PYTHON cannot import nats; pip install -r tests/protocol/requirements.txt"
  printf '%s\n' "$METAFLEET_TEST_PYTHON"
  exit
fi

home=$tools/python
mark=$home/requirements.txt
if ! { cmp -s "$requirements" "$mark" && usable "$home/bin/python"; }; then
  need_pip
  say "making a Python environment in ${home#"$root"/}"
  rm -rf "$home"
  make_venv "$home"
  "$home/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
    --only-binary=:all: -r "$requirements" >&2 ||
    die "pip could not install tests/protocol/requirements.txt; is the package registry reachable?"
  usable "$home/bin/python" || die "$home/bin/python cannot import nats"
  # Last, so that an environment that was left half-made is made anew.
  cp "$requirements" "$mark"
fi
printf '%s\n' "$home/bin/python"
