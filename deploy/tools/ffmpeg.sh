#!/usr/bin/env bash
# Makes sure that ffmpeg and ffprobe are there; installs the system's package where it may.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

have ffmpeg && have ffprobe && exit
apt_install ffmpeg || true
have ffmpeg && have ffprobe && exit
die "ffmpeg and ffprobe are missing; on Debian or Ubuntu: apt-get install ffmpeg (as root), elsewhere use the system's package manager"
