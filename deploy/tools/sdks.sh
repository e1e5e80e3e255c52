#!/usr/bin/env bash
# Builds the SDKs that must be built before something can use them, in their folders: what TypeScript
# compiles to, and the programs in Go, in target/sdk-go. Needs node, npm and go on PATH.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

typescript=$root/worker-sdk/typescript
mark=$typescript/node_modules/.sum
wanted=$(sha256sum <"$typescript/package-lock.json")
if [ "$(cat "$mark" 2>/dev/null)" != "$wanted" ]; then
  say "installing what the TypeScript SDK needs"
  # No package may run a program of its own while it is installed.
  npm ci --prefix "$typescript" --ignore-scripts --no-audit --no-fund --loglevel=error >&2 ||
    die "npm could not install worker-sdk/typescript/package-lock.json; is the package registry reachable?"
  # Last, so that a folder that was left half-made is made anew.
  printf '%s\n' "$wanted" >"$mark"
fi
npm run --silent --prefix "$typescript" build >&2 || die "the TypeScript SDK could not be built"

cd "$root/worker-sdk/go"
go build -o "$root/target/sdk-go/" ./examples/... >&2 || die "the Go SDK could not be built; is the module proxy reachable?"
