#!/usr/bin/env python3
"""Lays out what was built as an installation: <stage>/bin, <stage>/sdk and <stage>/plugins/<id>/v<version>/.

    stage.py STAGE [--all]

Programs of `cargo build` are links into the target directory, so that a rebuilt one needs no second copy. A plugin that wants
a permission, without which a fleet does not start it, is in <stage>/other-plugins. With `--all` the plugins in other languages
are there, too: each has a script `build` that lays its folder out, which needs what its language needs.
"""

from __future__ import annotations

import hashlib
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


def wants_permission(crate: Path) -> bool:
    """Whether a person must grant the plugin something before it can run."""
    return bool(json.loads((crate / "manifest.json").read_text(encoding="utf-8")).get("permissions"))


def manifest_of(folder: Path) -> tuple[str, str]:
    """Id and version."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return manifest["id"], manifest["version"]


def sources_sum(*folders: Path) -> str:
    """A hash over all sources in these folders; what is made of them is left out."""
    made = {"dist", "node_modules", "__pycache__", "target", ".mypy_cache", "tests", "test"}
    found = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if made.intersection(path.relative_to(folder).parts) or not path.is_file():
                continue
            found.update(str(path.relative_to(folder)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def stage_by_script(folder: Path, stage: Path) -> None:
    """Has a plugin lay itself out; nothing is done when its sources and the SDKs are as they were."""
    name, version = manifest_of(folder)
    target = stage / "other-plugins" / name / f"v{version}"
    mark = stage / "marks" / f"{name}-{version}"
    wanted = sources_sum(folder, folder.parents[1] / "worker-sdk")
    if target.is_dir() and mark.is_file() and mark.read_text() == wanted:
        return
    print(f"building plugins/{folder.name}", file=sys.stderr)
    new = target.with_name(f".{target.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.parent.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "PATH": f"{(stage / 'bin').resolve()}:{os.environ['PATH']}"}
    subprocess.run([folder / "build", new.resolve()], env=env, check=True)
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)
    # Last, so that a folder that was left half-made is made anew.
    mark.parent.mkdir(exist_ok=True)
    mark.write_text(wanted)


def main() -> None:
    stage, everything = Path(sys.argv[1]), "--all" in sys.argv[2:]
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
            if wants_permission(crate):
                stage_plugin(crate, built / programs[0], stage / "other-plugins")
            else:
                wanted.add(stage_plugin(crate, built / programs[0], stage / "plugins"))
    for folder in (stage / "plugins").iterdir():
        if folder.name not in wanted:
            shutil.rmtree(folder)
    for program in ("metafleet", "metafleet-shim"):
        link(built / program, stage / "bin" / program)
    link(plugins.parent / "worker-sdk", stage / "sdk")
    for script in sorted(plugins.glob("*/build")) if everything else []:
        stage_by_script(script.parent, stage)
    print(f"staged metafleet and {len(wanted)} plugins in {stage}", file=sys.stderr)


if __name__ == "__main__":
    main()
