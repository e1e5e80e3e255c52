#!/usr/bin/env bash
# Prints the path of a Python that has what the worker in tests/protocol needs: the one that
# METAFLEET_TEST_PYTHON names, else one of its own in .tools/python, which it makes once.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

own_python METAFLEET_TEST_PYTHON python nats tests/protocol/requirements.txt
