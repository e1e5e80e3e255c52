"""A fleet on this machine with plugins that were packed and installed, as a person does it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("METAFLEET_BIN", REPOSITORY / "target/stage/bin/metafleet")).absolute()
# What `make other-plugins` has built lies beside the program.
STAGE = PROGRAM.parents[1]
# Of a broker, a coordinator and what interpreters need to start on a machine that has much to do.
PATIENCE = 120.0


def until(what: str, holds: Callable[[], Any], limit: float = PATIENCE) -> Any:
    """Waits for a condition; returns what it says."""
    end = time.monotonic() + limit
    while not (said := holds()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {limit:.0f} s in vain for {what}")
        time.sleep(0.1)
    return said


class Fleet:
    """A data folder, and the fleet that runs over it between `up` and `down`."""

    def __init__(self, **variables: str) -> None:
        if not os.access(PROGRAM, os.X_OK):
            raise AssertionError(f"{PROGRAM} is not there: run `make other-plugins`")
        self.home = Path(tempfile.mkdtemp(prefix="plugins-"))
        self.data = self.home / "data"
        # Each of them would lead to something else than this fleet.
        foreign = ("NATS_URL", "NATS_CREDS", "METAFLEET_OUTPUT", "METAFLEET_PREFIX", "METAFLEET_PLUGIN_PATH", "METAFLEET_PLUGINS")
        self._env = {name: value for name, value in os.environ.items() if name not in foreign}
        self._env |= {"METAFLEET_DATA_DIR": str(self.data), **variables}
        self._up: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str, code: int = 0, given: str = "") -> str:
        """Runs a command of `metafleet`, which must end with `code`; returns what it printed."""
        done = subprocess.run([PROGRAM, *arguments], env=self._env, input=given, capture_output=True, text=True,
                              timeout=2 * PATIENCE, check=False)
        if done.returncode != code:
            raise AssertionError(f"metafleet {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}{self.log()}")
        return done.stdout

    def read(self, *arguments: str) -> Any:
        """The JSON that a command prints."""
        return json.loads(self.run(*arguments, "--output", "json"))

    def install(self, plugin: str) -> None:
        """Packs what was built of a plugin in another language, and installs it; it takes part from `enable` on."""
        built = sorted((STAGE / "other-plugins" / plugin).glob("v*"))
        if len(built) != 1:
            raise AssertionError(f"one version of {plugin} in {STAGE}/other-plugins, not {built}: run `make other-plugins`")
        package = self.home / f"{plugin}.mfp"
        self.run("plugin", "pack", str(built[0]), "-o", str(package))
        self.run("plugin", "install", str(package), "--enable")

    def settle(self, **plugins: dict[str, Any]) -> None:
        """Writes `plugins.yml`; JSON is YAML, too."""
        self.data.mkdir(exist_ok=True)
        (self.data / "plugins.yml").write_text(json.dumps({"plugins": {name.replace("_", "-"): entry for name, entry in plugins.items()}}))

    def up(self, *arguments: str) -> None:
        """Starts the fleet and waits until it answers."""
        with open(self.home / "up.log", "ab") as log:
            self._up = subprocess.Popen([PROGRAM, "up", "--api-listen", "127.0.0.1:0", "--kv-listen", "127.0.0.1:0", *arguments],
                                        env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until("the fleet", lambda: self.plugins() is not None)

    def plugins(self) -> list[dict[str, Any]] | None:
        """The plugins that the fleet knows; None while it does not answer."""
        if self._up is None or self._up.poll() is not None:
            raise AssertionError(f"the fleet has ended:\n{self.log()}")
        if not (self.data / "fleet.json").exists():
            return None
        try:
            return self.read("plugin", "list")
        except AssertionError:
            return None

    def serves(self, *plugins: str) -> None:
        """Waits until each of them has an instance that takes tasks."""
        def ready() -> bool:
            serving = {one["id"] for one in self.plugins() or [] if one["instances"]}
            return serving.issuperset(plugins)
        try:
            until(f"{plugins} to serve", ready)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.run('status')}\n{self.log()}") from error

    def outcome(self, plugin: str, file: Path) -> dict[str, Any]:
        """How a plugin has ended with a file; `status` is None while it has not."""
        return self.read("file", "show", str(file))["plugins"].get(plugin, {"status": None})

    def meta(self, file: Path) -> dict[str, Any]:
        """What all plugins together say of a file."""
        return self.read("meta", "get", str(file))

    def log(self) -> str:
        """The end of what the fleet has said."""
        path = self.home / "up.log"
        return path.read_text(errors="replace")[-6000:] if path.exists() else ""

    def down(self) -> None:
        """Stops the fleet."""
        if self._up is None:
            return
        self._up.send_signal(signal.SIGTERM)
        try:
            self._up.wait(60)
        except subprocess.TimeoutExpired:
            self._up.kill()
            self._up.wait()
        self._up = None

    def close(self) -> None:
        """Stops the fleet and removes its folder."""
        self.down()
        shutil.rmtree(self.home, ignore_errors=True)


def demo_library() -> Path:
    """The small library of real media; made once and kept."""
    folder = REPOSITORY / "target/tmp/demo-library"
    made = subprocess.run([sys.executable, REPOSITORY / "tests/media/make_library.py", folder], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise AssertionError(f"make the library: {made.stderr}")
    return folder


def the_stand_in() -> Any:
    """The Movie Database, as the tests of the plugin `tmdb` have it."""
    spec = importlib.util.spec_from_file_location("stand_in", REPOSITORY / "plugins/tmdb/tests/stand_in.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
