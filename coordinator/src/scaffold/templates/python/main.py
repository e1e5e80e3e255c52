#!/usr/bin/env python3
"""The program that a fleet starts."""

import sys
from pathlib import Path

# `./build` puts what is needed into lib/, `./test` into .deps/.
here = Path(__file__).resolve().parent
sys.path[1:1] = [str(here / name) for name in ("lib", ".deps") if (here / name).is_dir()]

import metafleet  # noqa: E402
from text_stats import TextStats  # noqa: E402

if __name__ == "__main__":
    metafleet.run(TextStats)
