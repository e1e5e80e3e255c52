#!/usr/bin/env bash
# Prints the path of a Python that has what tests/openapi/contract.py needs: the one that METAFLEET_TEST_OPENAPI
# names, else one of its own in .tools/openapi, which it makes once.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

own_python METAFLEET_TEST_OPENAPI openapi schemathesis tests/openapi/requirements.txt
