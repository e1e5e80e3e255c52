#!/usr/bin/env bash
# Makes sure that a compose tool, debootstrap and a registry are there; installs the system's packages where it may.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if ! docker compose version >/dev/null 2>&1 && ! have docker-compose; then
  apt_install docker-compose ||
    die "docker-compose is missing; on Debian or Ubuntu: apt-get install docker-compose (as root)"
fi
have debootstrap || apt_install debootstrap || die "debootstrap is missing; on Debian or Ubuntu: apt-get install debootstrap (as root)"
have docker-registry || apt_install docker-registry || die "docker-registry is missing; on Debian or Ubuntu: apt-get install docker-registry (as root)"
