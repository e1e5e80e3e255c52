#!/usr/bin/env python3
"""Builds the images of MetaFleet: metafleet/coordinator, metafleet/nats and metafleet/plugin-<id> for every plugin.

No registry is needed: where the Debian image cannot be pulled, debootstrap makes one, once. Programs are taken ready
made from an installation (`make build` lays one out in target/stage), or built in containers with --from-source.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NATS_VERSION = "2.15.1"
LABEL = "metafleet.plugin"
# On everything that is in between; what is left of it goes away at the end.
STAGE_LABEL = "metafleet.build-stage=true"
# What a plugin starts besides itself: packages of Debian, and the programs out of them.
TOOLS = {
    "ffmpeg": ("ffmpeg", "ffprobe"),
    "still-extractor": ("ffmpeg", "ffmpeg"),
    "subtitle-extractor": ("ffmpeg", "ffmpeg"),
}
BASE_PACKAGES = ["ca-certificates", "busybox", "ffmpeg"]
# How the broker's image starts; the official one is like it.
NATS = ["ENV PATH=/usr/bin", "USER 65532:65532", "EXPOSE 4222", 'ENTRYPOINT ["/usr/bin/nats-server"]',
        'CMD ["--config", "/etc/nats/nats-server.conf"]']
# What the base image does not need: it is where libraries are taken from, no more.
LEFT_OUT = ["var/cache/apt/archives/*", "var/lib/apt/lists/*", "usr/share/doc", "usr/share/locale", "usr/share/man", "dev/*"]
# No step may take for ever; the longest ones are a download of Debian and a Rust build.
SHORT, PULL, LONG, RUST_BUILD = 60, 120, 900, 3600


class Problem(Exception):
    """What went wrong, and what to do about it."""

    code = 1


class Missing(Problem):
    """This machine lacks something; another exit code, so that a caller can tell."""

    code = 3


@dataclass(frozen=True)
class Distribution:
    """The Debian (or Ubuntu) whose shared libraries come into the images."""

    suite: str
    image: str
    mirror: str
    components: str


@dataclass(frozen=True)
class Image:
    """One image to build."""

    tag: str
    target: str
    program: str
    labels: dict[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ("ca-certificates",)
    also: tuple[str, ...] = ()
    # Ready programs that lie beside `program` in the context.
    beside: tuple[str, ...] = ()


def distribution(os_release: str, from_source: bool) -> Distribution:
    """Ready programs want the libraries of the machine that built them; sources build on any."""
    said = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', os_release, re.MULTILINE))
    suite = said.get("VERSION_CODENAME", "")
    if not from_source and said.get("ID") == "ubuntu" and suite:
        return Distribution(suite, f"ubuntu:{suite}", "http://archive.ubuntu.com/ubuntu", "main,universe")
    if from_source or said.get("ID") != "debian" or not suite:
        suite = "bookworm"
    return Distribution(suite, f"debian:{suite}-slim", "http://deb.debian.org/debian", "main")


def base_tag(dist: Distribution) -> str:
    """The tag of the base image that debootstrap makes: another recipe is another image."""
    recipe = json.dumps([dist.suite, dist.mirror, dist.components, BASE_PACKAGES, LEFT_OUT])
    return f"metafleet/base:{dist.suite}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def plan(repository: str, version: str, manifests: list[dict], revision: str) -> list[Image]:
    """All images, the broker first."""
    oci = "org.opencontainers.image"
    common = {f"{oci}.vendor": "MetaFleet", **({f"{oci}.revision": revision} if revision else {})}
    images = [
        Image(f"{repository}/nats:{NATS_VERSION}", "nats", "nats-server", {f"{oci}.version": NATS_VERSION},
              ("ca-certificates", "busybox"), ("busybox",)),
        Image(f"{repository}/coordinator:{version}", "coordinator", "metafleet",
              {**common, f"{oci}.version": version}, beside=("nats-server",)),
    ]
    for manifest in manifests:
        package, tool = TOOLS.get(manifest["id"], (None, None))
        labels = {
            **common,
            f"{oci}.title": manifest["name"],
            f"{oci}.description": manifest.get("description", ""),
            f"{oci}.version": manifest["version"],
            f"{LABEL}.id": manifest["id"],
            f"{LABEL}.version": manifest["version"],
            f"{LABEL}.manifest": json.dumps(manifest, separators=(",", ":"), ensure_ascii=False),
        }
        images.append(Image(
            f"{repository}/plugin-{manifest['id']}:{manifest['version']}", "plugin", manifest["entryPoint"]["main"],
            labels, ("ca-certificates", *([package] if package else [])), (tool,) if tool else ()))
    return images


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(command: list[str], limit: int, **options) -> subprocess.CompletedProcess:
    """Runs a command to its end, or to its time limit."""
    try:
        return subprocess.run(command, timeout=limit, text=True, check=False, **options)
    except subprocess.TimeoutExpired:
        raise Problem(f"`{' '.join(command[:3])} ..` took longer than {limit} s and was ended") from None
    except FileNotFoundError:
        raise Problem(f"{command[0]} is not installed") from None


def docker(*arguments: str, limit: int = SHORT, **options) -> subprocess.CompletedProcess:
    return run(["docker", *arguments], limit, capture_output=True, **options)


def needs_engine() -> None:
    """Says what is missing, and how to get it."""
    if not shutil.which("docker"):
        raise Missing("docker is not installed; on Debian or Ubuntu: apt-get install docker.io (as root), elsewhere see docs.docker.com")
    answer = docker("version", "--format", "{{.Server.Version}}")
    if answer.returncode:
        raise Missing(f"no Docker engine answers: {answer.stderr.strip()}\n"
                      "Start it (systemctl start docker), and let this user use it (group docker, or run this as root).")


def has_image(tag: str) -> bool:
    return docker("image", "inspect", tag).returncode == 0


def base_image(dist: Distribution, pull: bool) -> str:
    """The image that libraries are taken from: the one kept from before, else of a pulled one, else made now."""
    kept = base_tag(dist)
    if has_image(kept):
        return kept
    if has_image(dist.image) or (pull and pulled(dist.image)):
        with_packages(dist.image, kept)
    else:
        say(f"making {kept} with debootstrap; this is done once")
        debootstrap(dist, kept)
    return kept


def pulled(image: str) -> bool:
    done = docker("pull", image, limit=PULL)
    if done.returncode:
        say(f"{image} cannot be pulled: {(done.stderr.strip() or 'no reason was given').splitlines()[-1]}")
    return done.returncode == 0


def with_packages(image: str, tag: str) -> None:
    """Keeps an image with the packages in it, so that they are fetched once."""
    script = (HERE / "gather.sh").read_text(encoding="utf-8")
    command = ["sh", "-c", f"sh -c \"$0\" gather.sh packages {' '.join(BASE_PACKAGES)}", script]
    created = docker("create", "--label", STAGE_LABEL, image, *command)
    must(created, f"make a container of {image}")
    container = created.stdout.strip()
    try:
        must(docker("start", "--attach", container, limit=LONG), f"install packages in {image}")
        must(docker("commit", "--change", "LABEL metafleet.base=true", container, tag, limit=LONG), f"keep {tag}")
    finally:
        docker("rm", "--force", "--volumes", container)


def debootstrap(dist: Distribution, tag: str) -> None:
    """Makes a small Debian and imports it as an image."""
    if not shutil.which("debootstrap"):
        raise Missing("the Debian image cannot be pulled, and debootstrap is not installed to make one; "
                      "on Debian or Ubuntu: apt-get install debootstrap (as root)")
    if os.geteuid() != 0:
        raise Missing("the Debian image cannot be pulled, and debootstrap must run as root: run this once with sudo; the image that it makes is kept")
    # In memory where there is room: dpkg waits for the disk after every file.
    shm = Path("/dev/shm")
    roomy = shm.is_dir() and shutil.disk_usage(shm).free > 3 << 30
    with tempfile.TemporaryDirectory(prefix="metafleet-base-", dir=shm if roomy else None) as folder:
        os.chmod(folder, 0o755)
        made = run(["debootstrap", "--variant=minbase", f"--components={dist.components}",
                    f"--include={','.join(BASE_PACKAGES)}", dist.suite, folder,
                    os.environ.get("DEBIAN_MIRROR", dist.mirror)], LONG, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if made.returncode:
            last = "\n".join(made.stdout.splitlines()[-5:])
            raise Problem(f"debootstrap failed; DEBIAN_MIRROR names another mirror than {dist.mirror}. It said:\n{last}")
        tar = ["tar", "-C", folder, *(f"--exclude=./{path}" for path in LEFT_OUT), "-c", "."]
        with subprocess.Popen(tar, stdout=subprocess.PIPE) as packing:
            done = docker("import", "--change", "LABEL metafleet.base=true", "-", tag, limit=LONG, stdin=packing.stdout)
            packing.stdout.close()
        if done.returncode or packing.returncode:
            raise Problem(f"docker import failed: {done.stderr.strip()}")


def ready_programs(stage: Path, nats_server: Path) -> dict[str, Path]:
    """Programs by name, of an installation as `make build` lays it out."""
    found = {"metafleet": stage / "bin/metafleet", "nats-server": nats_server}
    # Crates that want a permission lie among the other plugins.
    for manifest in stage.glob("*plugins/*/*/manifest.json"):
        main = json.loads(manifest.read_text(encoding="utf-8"))["entryPoint"]["main"]
        found[main] = manifest.parent / main
    missing = sorted(str(path) for path in found.values() if not path.is_file())
    if missing or len(found) < 3:
        raise Problem(f"there are no programs in {stage} {missing}; `make build` makes them, or use --from-source")
    return found


def settings(dockerfile: str, target: str) -> list[str]:
    """The instructions of a stage of the Dockerfile that `docker import` can set; SIGTERM is the default signal."""
    lines = dockerfile.split(f" AS {target}\n", 1)[1].split("\nFROM ", 1)[0].splitlines()
    return [line for line in lines if line.split(" ", 1)[0] in ("LABEL", "ENV", "USER", "WORKDIR", "ENTRYPOINT", "CMD")]


def label(name: str, value: str) -> str:
    """A LABEL instruction; a dollar sign would stand for a variable."""
    return f"LABEL {name}={json.dumps(value, ensure_ascii=False).replace('$', chr(92) + '$')}"


def work_of(images: list[Image]) -> str:
    """What is done in the base image's container: every image's root folder."""
    packages = sorted({package for image in images for package in image.packages})
    lines = ["set -e", f"sh /work/gather.sh packages {' '.join(packages)}"]
    for image in images:
        programs = " ".join(f"/work/{name}" for name in (image.program, *image.beside))
        lines.append(f"sh /work/gather.sh pack /roots/{image.program} {programs} {' '.join(image.also)}")
    return "\n".join(lines)


def lay_out(images: list[Image], programs: dict[str, Path], folder: Path) -> None:
    """The programs and the script, for the container."""
    shutil.copyfile(HERE / "gather.sh", folder / "gather.sh")
    for image in images:
        for name in (image.program, *image.beside):
            at = folder / name
            if name not in programs:
                raise Problem(f"{image.tag} needs the program {name}, which is not there; run `make build` again")
            shutil.copyfile(programs[name], at)
            at.chmod(0o755)
            # For smaller images; a program that cannot be stripped works as well.
            if shutil.which("strip"):
                run(["strip", str(at)], SHORT, capture_output=True)


def pack_all(images: list[Image], base: str, programs: dict[str, Path]) -> None:
    """Makes images of ready programs: one container of the base image puts their files together."""
    created = docker("create", "--label", STAGE_LABEL, base, "sh", "-c", work_of(images))
    must(created, f"make a container of {base}")
    container = created.stdout.strip()
    try:
        with tempfile.TemporaryDirectory(prefix="metafleet-programs-") as folder:
            lay_out(images, programs, Path(folder))
            must(docker("cp", f"{folder}/.", f"{container}:/work", limit=LONG), "copy the programs")
        must(docker("start", "--attach", container, limit=LONG), "put the files together")
        dockerfile = (HERE / "Dockerfile").read_text(encoding="utf-8")
        for image in images:
            begun = time.monotonic()
            import_root(image, container, NATS if image.target == "nats" else settings(dockerfile, image.target))
            told(image, begun)
    finally:
        docker("rm", "--force", "--volumes", container)


def import_root(image: Image, container: str, instructions: list[str]) -> None:
    command = ["import"]
    for instruction in [*instructions, *(label(*pair) for pair in image.labels.items())]:
        command += ["--change", instruction]
    root = ["docker", "cp", f"{container}:/roots/{image.program}/.", "-"]
    with subprocess.Popen(root, stdout=subprocess.PIPE) as files:
        done = docker(*command, "-", image.tag, limit=LONG, stdin=files.stdout)
        files.stdout.close()
    if files.returncode:
        raise Problem(f"{image.tag}: its files cannot be read")
    must(done, f"import {image.tag}")


def build_all(images: list[Image], base: str, rust: str) -> None:
    """Builds images from the sources, with whatever builder the engine has."""
    for image in images:
        begun = time.monotonic()
        command = ["build", "--file", str(HERE / "Dockerfile"), "--target", image.target, "--tag", image.tag]
        for name, value in (("DEBIAN", base), ("RUST", rust), ("PROGRAM", image.program),
                            ("PACKAGES", " ".join(image.packages)), ("ALSO", " ".join(image.also))):
            command += ["--build-arg", f"{name}={value}"]
        for name, value in image.labels.items():
            command += ["--label", f"{name}={value}"]
        must(docker(*command, str(ROOT), limit=RUST_BUILD), f"build {image.tag}")
        told(image, begun)


def must(done: subprocess.CompletedProcess, what: str) -> None:
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise Problem(f"could not {what}:\n{last}")


def told(image: Image, begun: float) -> None:
    size = int(docker("image", "inspect", "--format", "{{.Size}}", image.tag).stdout)
    say(f"{image.tag}: {size / 1e6:.0f} MB, {time.monotonic() - begun:.1f} s")
    print(image.tag, flush=True)


def push(images: list[Image]) -> None:
    """Brings images to the registry that their names begin with, as whom `docker login` was."""
    for image in images:
        must(docker("push", "--quiet", image.tag, limit=LONG), f"push {image.tag}")
        say(f"{image.tag}: pushed")


def names_a_registry(repository: str) -> bool:
    """Whether the first part is a host, as Docker reads names."""
    host, slash, _ = repository.partition("/")
    return bool(slash) and ("." in host or ":" in host or host == "localhost")


def make(args: argparse.Namespace) -> None:
    needs_engine()
    dist = distribution(Path("/etc/os-release").read_text(encoding="utf-8"), args.from_source)
    images = plan(args.repository, version(), manifests(), revision())
    if args.from_source:
        images = [image for image in images if image.target != "nats"]
        build_all(images, args.base or dist.image, args.rust)
    else:
        found = run([str(ROOT / "deploy/tools/nats-server.sh")], LONG, stdout=subprocess.PIPE)
        if found.returncode:
            raise Problem("there is no nats-server to pack")
        programs = ready_programs(args.stage, Path(found.stdout.strip()))
        pack_all(images, args.base or base_image(dist, not args.no_pull), programs)
    if args.push:
        push(images)


def version() -> str:
    return re.search(r'^version = "([^"]+)"', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.MULTILINE)[1]


def manifests() -> list[dict]:
    # The others have a Dockerfile of their own.
    crates = (path.parent for path in sorted(ROOT.glob("plugins/*/Cargo.toml")))
    return [json.loads((crate / "manifest.json").read_text(encoding="utf-8")) for crate in crates]


def revision() -> str:
    """The commit, when this is a checkout."""
    done = run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], SHORT, capture_output=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", type=Path, default=ROOT / "target/stage", help="the installation with ready programs")
    parser.add_argument("--from-source", action="store_true", help="build the programs in containers (needs the Rust image)")
    parser.add_argument("--rust", default="rust:1.95-slim-bookworm", help="the image that builds them")
    parser.add_argument("--repository", default="metafleet", help="what names begin with, e.g. registry.example/metafleet")
    parser.add_argument("--base", help="the Debian image that libraries are taken from, in place of the usual one")
    parser.add_argument("--push", action="store_true", help="push the images to the registry that --repository names")
    parser.add_argument("--no-pull", action="store_true", help="pull nothing")
    args = parser.parse_args()
    if args.push and not names_a_registry(args.repository):
        parser.error("--push needs --repository with the registry to push to, e.g. registry.example/metafleet")
    return args


def main() -> int:
    try:
        make(arguments())
    except Problem as problem:
        say(f"error: {problem}")
        return problem.code
    finally:
        # What stages left behind; only ours carries the label.
        if shutil.which("docker"):
            docker("image", "prune", "--force", "--filter", f"label={STAGE_LABEL}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
