#!/bin/sh
# What the stages of the Dockerfile do, and build.py in a container of its own; never on a machine itself.
set -eu

die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# build NAME FOLDER: builds the program from its sources and puts it there.
build() {
  name=$1 folder=$2 package=$1
  [ -n "$name" ] || die "which program? e.g. --build-arg PROGRAM=plugin-file-info or PROGRAM=metafleet"
  [ -f Cargo.toml ] || die "the context must be the root of the checkout"
  [ "$name" != metafleet ] || package=coordinator
  cargo build --release --locked --package "$package" --bin "$name"
  mkdir -p "$folder"
  cp "target/release/$name" "$folder/"
  strip "$folder/$name" 2>/dev/null || echo "not stripped: there is no strip" >&2
}

# packages NAME..: installs what is not there yet.
packages() {
  missing=
  for name; do
    dpkg-query --show --showformat='${Status}' "$name" 2>/dev/null | grep -q ' installed$' || missing="$missing $name"
  done
  [ -n "$missing" ] || return 0
  export DEBIAN_FRONTEND=noninteractive
  apt-get update
  # shellcheck disable=SC2086 # several names
  apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-unsafe-io $missing
  rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
}

# pack ROOT PROGRAM..: the programs, given by path or by name, with all that they load.
pack() {
  root=$1
  shift
  mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/tmp" "$root/data"
  chmod 1777 "$root/tmp" "$root/data"
  for one; do
    path=$(command -v "$one") || die "$one is not installed; is its package in PACKAGES?"
    name=$(basename "$path")
    cp -L "$path" "$root/usr/bin/$name"
    chmod 0755 "$root/usr/bin/$name"
    libraries "$path" "$name" "$root"
    case $name in
      plugin-*) ln -s "$name" "$root/usr/bin/plugin" ;;
      # The one tool of a health check.
      busybox) ln -s busybox "$root/usr/bin/wget" ;;
    esac
  done
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  printf 'root:x:0:0::/:/none\nmetafleet:x:65532:65532::/tmp:/none\n' >"$root/etc/passwd"
  printf 'root:x:0:\nmetafleet:x:65532:\n' >"$root/etc/group"
}

# libraries PATH NAME ROOT: nothing for a static program.
libraries() {
  listed=$(ldd "$1" 2>&1) || true
  case $listed in
    *"not a dynamic executable"*) return 0 ;;
    *"not found"*) die "$2 needs what this Debian does not have: $(printf '%s\n' "$listed" | grep 'not found')" ;;
  esac
  printf '%s\n' "$listed" | grep -o '/[^ ]*' | sort -u | while read -r library; do
    cp -L --parents "$library" "$3"
  done
}

case ${1:-} in
  build | packages | pack) "$@" ;;
  *) die "usage: gather.sh build|packages|pack .." ;;
esac
