#!/usr/bin/env bash
# Prints the path of libfaketime, with which tests turn the clocks of workers: the one that METAFLEET_FAKETIME
# names, else the system's, whose package it installs where it may.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

library=${METAFLEET_FAKETIME:-/usr/lib/$(uname -m)-linux-gnu/faketime/libfaketime.so.1}
if [ ! -f "$library" ] && [ -z "${METAFLEET_FAKETIME:-}" ]; then
  apt_install libfaketime || true
fi
[ -f "$library" ] || die "$library is missing; on Debian or Ubuntu: apt-get install libfaketime (as root), elsewhere name it in METAFLEET_FAKETIME"
printf '%s\n' "$library"
