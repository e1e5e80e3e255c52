#!/usr/bin/env bash
# Prints the path of the `nats` command line tool, with which the transcripts in PROTOCOL.md are tested:
# the one that NATS_CLI names, else one of its own in .tools, which it builds once from its Go module.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

module=github.com/nats-io/natscli
version=0.4.0
sum=h1:TVNhf1cV1xKS21OknR/7jBvO1PP4yynRqI9Si31AEk8=

usable() { [ -x "$1" ] && "$1" --version >/dev/null 2>&1; }

if [ -n "${NATS_CLI:-}" ]; then
  usable "$NATS_CLI" || die "NATS_CLI=$NATS_CLI is not the nats command line tool"
  printf '%s\n' "$NATS_CLI"
  exit
fi

target=$tools/natscli-$version/nats
if ! usable "$target"; then
  PATH=$("$(dirname "${BASH_SOURCE[0]}")/go.sh"):$PATH
  mkdir -p "$(dirname "$target")" || die "cannot create $(dirname "$target")"
  temp=$(mktemp -d "$tools/natscli.XXXXXX") || die "cannot create a folder in $tools"
  # shellcheck disable=SC2064 # the value of now is meant
  trap "rm -rf '$temp'" EXIT
  say "building nats $version"
  # The module's own go.sum holds what it is built from; its sum holds the module. `go install` would ask
  # for the list of all versions, which not every module proxy has.
  found=$(cd "$temp" && go mod init tools >/dev/null 2>&1 && go mod download -json "$module@v$version") ||
    die "go could not download $module@v$version; is the module proxy reachable?"
  source=$(python3 - "$sum" "$found" <<'PYTHON'
import json, sys

wanted, found = sys.argv[1], json.loads(sys.argv[2])
if found.get("Sum") != wanted:
    sys.exit(f"error: {found['Path']} has the sum {found.get('Sum')}, expected {wanted}; it is not used")
print(found["Dir"])
PYTHON
  ) || exit 1
  (cd "$source" && go build -trimpath -ldflags "-s -w" -o "$temp/nats" ./nats) >&2 || die "nats $version could not be built"
  mv -f "$temp/nats" "$target"
  usable "$target" || die "$target does not run on this machine"
fi
printf '%s\n' "$target"
