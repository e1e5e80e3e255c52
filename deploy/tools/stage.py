#!/usr/bin/env python3
"""Lays out what `cargo build` made as an installation: <stage>/bin/metafleet and <stage>/plugins/<id>/v<version>/.

Programs are links into the target directory, so that a rebuilt one needs no second copy.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path


def link(target: Path, at: Path) -> None:
    """Puts a link to `target` at `at` in one step, in place of what was there."""
    at.parent.mkdir(parents=True, exist_ok=True)
    new = at.with_name(f".{at.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    os.replace(new, at)


def stage_plugin(crate: Path, program: Path, plugins: Path) -> str:
    """Makes the folder of one plugin and returns its id; folders of its other versions go away."""
    path = crate / "manifest.json"
    if not path.is_file():
        sys.exit(f"error: {crate} has no manifest.json")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        name, version, main = manifest["id"], manifest["version"], manifest["entryPoint"]["main"]
    except (ValueError, KeyError, TypeError) as error:
        sys.exit(f"error: {path}: {error!r}")
    folder = plugins / name / f"v{version}"
    folder.mkdir(parents=True, exist_ok=True)
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other)
    link(program, folder / main)
    # A copy: an edited version must not turn up in the folder of the one before it.
    shutil.copyfile(path, folder / "manifest.json")
    return name


def main() -> None:
    stage = Path(sys.argv[1])
    # `--no-deps` reads the manifests only.
    listed = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"], stdout=subprocess.PIPE, check=True)
    workspace = json.loads(listed.stdout)
    built = Path(workspace["target_directory"]) / "debug"
    plugins = Path(workspace["workspace_root"]) / "plugins"
    (stage / "plugins").mkdir(parents=True, exist_ok=True)
    wanted = set()
    for package in workspace["packages"]:
        crate = Path(package["manifest_path"]).parent
        programs = [target["name"] for target in package["targets"] if "bin" in target["kind"]]
        if crate.parent == plugins and programs:
            wanted.add(stage_plugin(crate, built / programs[0], stage / "plugins"))
    for folder in (stage / "plugins").iterdir():
        if folder.name not in wanted:
            shutil.rmtree(folder)
    link(built / "metafleet", stage / "bin" / "metafleet")
    print(f"staged metafleet and {len(wanted)} plugins in {stage}", file=sys.stderr)


if __name__ == "__main__":
    main()
