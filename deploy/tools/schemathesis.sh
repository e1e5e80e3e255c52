#!/usr/bin/env bash
# Prints the path of a Python that has what tests/openapi/contract.py needs: the one that METAFLEET_TEST_OPENAPI
# names, else one of its own in .tools/openapi, which it makes once.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

requirements=$root/tests/openapi/requirements.txt
usable() { "$1" -c 'import schemathesis' >/dev/null 2>&1; }

if [ -n "${METAFLEET_TEST_OPENAPI:-}" ]; then
  usable "$METAFLEET_TEST_OPENAPI" ||
    die "METAFLEET_TEST_OPENAPI=$METAFLEET_TEST_OPENAPI cannot import schemathesis; pip install -r tests/openapi/requirements.txt"
  printf '%s\n' "$METAFLEET_TEST_OPENAPI"
  exit
fi

home=$tools/openapi
mark=$home/requirements.txt
if ! { cmp -s "$requirements" "$mark" && usable "$home/bin/python"; }; then
  need_pip
  say "making a Python environment in ${home#"$root"/}"
  rm -rf "$home"
  make_venv "$home"
  "$home/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
    --only-binary=:all: -r "$requirements" >&2 ||
    die "pip could not install tests/openapi/requirements.txt; is the package registry reachable?"
  usable "$home/bin/python" || die "$home/bin/python cannot import schemathesis"
  # Last, so that an environment that was left half-made is made anew.
  cp "$requirements" "$mark"
fi
printf '%s\n' "$home/bin/python"
