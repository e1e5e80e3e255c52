#!/usr/bin/env bash
# Makes sure that a Docker engine answers: the one that runs, else Debian's, installed and started.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. deploy/tools/lib.sh

answers() {
  python3 - <<'PY'
import socket, sys
try:
    engine = socket.socket(socket.AF_UNIX)
    engine.settimeout(5)
    engine.connect("/var/run/docker.sock")
    engine.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
    sys.exit(b" 200 " not in engine.recv(64))
except OSError:
    sys.exit(1)
PY
}

if answers; then exit 0; fi
[ "$(id -u)" = 0 ] || die "no Docker engine answers, and only root can start one"
have dockerd || apt_install docker.io || die "docker.io cannot be installed"
have iptables || apt_install iptables || true
mkdir -p target/tmp
nohup dockerd >target/tmp/dockerd.log 2>&1 &
for _ in $(seq 60); do
  if answers; then exit 0; fi
  sleep 1
done
tail -n 20 target/tmp/dockerd.log >&2
die "dockerd does not answer within a minute; see target/tmp/dockerd.log"
