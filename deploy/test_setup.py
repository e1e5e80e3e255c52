"""Keys and logins are right, and compose.yaml fits what is in this checkout."""

import json
import os
import re
import stat
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

import setup

COMPOSE = (setup.HERE / "compose.yaml").read_text(encoding="utf-8")


class Keys(unittest.TestCase):
    def test_an_nkey_is_spelt_as_nats_spells_it(self):
        # The seed and the public key of the documentation of NATS.
        seed, public = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY", "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
        raw = setup.base64.b32decode(seed + "=" * (-len(seed) % 8))
        self.assertEqual(setup.seed_text(raw[2:34]), seed)
        raw = setup.base64.b32decode(public + "=" * (-len(public) % 8))
        self.assertEqual(setup.public_text(raw[1:33]), public)

    def test_a_key_is_made_once_and_nobody_else_can_read_it(self):
        with tempfile.TemporaryDirectory() as folder:
            args = SimpleNamespace(state=Path(folder) / "state", library=None, nats_image="nats")
            setup.prepare(args)
            secret = args.state / "keys/ffmpeg.nk"
            first = secret.read_text(encoding="utf-8")
            setup.prepare(args)
            self.assertEqual(secret.read_text(encoding="utf-8"), first)
            self.assertEqual(stat.S_IMODE(os.stat(secret).st_mode), 0o400)
            logins = (args.state / "users.conf").read_text(encoding="utf-8")
            self.assertNotIn(first.strip(), logins)
            self.assertIn((args.state / "keys/ffmpeg.pub").read_text(encoding="utf-8").strip(), logins)


class Logins(unittest.TestCase):
    def test_a_plugin_may_publish_its_own_and_nothing_of_another(self):
        publish, subscribe = setup.permissions("language", "my-fleet")
        self.assertIn("$JS.API.CONSUMER.MSG.NEXT.MY_FLEET_TASKS.language_fast", publish)
        self.assertIn("$KV.my-fleet-records.*.language", publish)
        self.assertIn("$KV.my-fleet-records.*.language_next", publish)
        self.assertIn("$JS.ACK.MY_FLEET_TASKS.language_fast.*.*.*.*.*", publish)
        self.assertIn("$JS.ACK._.*.MY_FLEET_TASKS.language_next_background.>", publish)
        self.assertIn("$KV.my-fleet-artifacts.*.language.*", publish)
        shared = {"my-fleet.submit.>", "_INBOX.>"}
        for subject in {*publish, *subscribe} - shared:
            self.assertIn("language", subject)

    def test_only_the_coordinator_may_do_everything(self):
        text = setup.users_conf({"coordinator": "UCOORD", "a": "UA"})
        self.assertIn("{ nkey: UCOORD } # coordinator", text)
        self.assertIn("{ nkey: UA, permissions:", text)


class Env(unittest.TestCase):
    def test_other_lines_stay_and_old_values_go(self):
        self.assertEqual(setup.merged_env("A=1\n# mine\nB=2\n", {"B": "3"}), "A=1\n# mine\nB=3\n")


class Compose(unittest.TestCase):
    def test_every_plugin_is_a_service_with_its_version_and_its_key(self):
        for crate in setup.HERE.parent.glob("plugins/*/Cargo.toml"):
            path = crate.with_name("manifest.json")
            manifest = json.loads(path.read_text(encoding="utf-8"))
            name, version = manifest["id"], manifest["version"]
            self.assertIn(f"/plugin-{name}:{version}\n    secrets: [{name}]", COMPOSE, name)
            self.assertIn(f"/keys/{name}.nk", COMPOSE, name)

    def test_the_coordinator_has_the_version_of_this_checkout(self):
        cargo = (setup.HERE.parent / "Cargo.toml").read_text(encoding="utf-8")
        version = re.search(r'^version = "([^"]+)"', cargo, re.MULTILINE)[1]
        self.assertEqual(set(re.findall(r"/coordinator:(\S+)", COMPOSE)), {version})

    def test_no_port_is_published_and_no_secret_is_a_variable(self):
        self.assertNotIn("ports:", COMPOSE)
        self.assertNotIn("privileged", COMPOSE)
        self.assertNotRegex(COMPOSE, r"NATS_(PASSWORD|TOKEN)\b")


if __name__ == "__main__":
    unittest.main()
