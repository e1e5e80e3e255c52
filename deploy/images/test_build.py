"""What images are built of and how, without an engine."""

import json
import tempfile
import unittest
from pathlib import Path

import build

MANIFEST = {"id": "ffmpeg", "name": "FFmpeg", "version": "1.2.3", "description": 'reads "all" for $5',
            "entryPoint": {"main": "plugin-ffmpeg"}}


class Base(unittest.TestCase):
    def test_ready_programs_get_the_libraries_of_the_machine_that_built_them(self):
        table = [
            # os-release, from source, image that is pulled
            ('ID=debian\nVERSION_CODENAME=trixie\n', False, "debian:trixie-slim"),
            ('ID="debian"\nVERSION_CODENAME="bookworm"\n', False, "debian:bookworm-slim"),
            ("ID=ubuntu\nVERSION_CODENAME=noble\n", False, "ubuntu:noble"),
            ("ID=ubuntu\nVERSION_CODENAME=noble\n", True, "debian:bookworm-slim"),
            ("ID=debian\nVERSION_CODENAME=trixie\n", True, "debian:bookworm-slim"),
            ("ID=fedora\n", False, "debian:bookworm-slim"),
        ]
        for text, from_source, expected in table:
            self.assertEqual(build.distribution(text, from_source).image, expected, text)

    def test_another_recipe_is_another_image(self):
        one, other = (build.distribution(f"ID=debian\nVERSION_CODENAME={name}\n", False) for name in ("bookworm", "trixie"))
        self.assertEqual(build.base_tag(one), build.base_tag(one))
        self.assertNotEqual(build.base_tag(one).split("-")[1], build.base_tag(other).split("-")[1])


class Plan(unittest.TestCase):
    def test_there_is_an_image_for_each_program(self):
        images = {image.tag: image for image in build.plan("here/mf", "0.1.0", [MANIFEST], "abc")}
        self.assertEqual(sorted(images), ["here/mf/coordinator:0.1.0", f"here/mf/nats:{build.NATS_VERSION}", "here/mf/plugin-ffmpeg:1.2.3"])
        plugin = images["here/mf/plugin-ffmpeg:1.2.3"]
        self.assertEqual((plugin.program, plugin.also), ("plugin-ffmpeg", ("ffprobe",)))
        self.assertIn("ffmpeg", plugin.packages)

    def test_the_manifest_can_be_read_off_the_image(self):
        (plugin,) = [image for image in build.plan("mf", "0.1.0", [MANIFEST], "") if image.target == "plugin"]
        self.assertEqual(json.loads(plugin.labels["metafleet.plugin.manifest"]), MANIFEST)
        self.assertEqual(plugin.labels["metafleet.plugin.id"], "ffmpeg")

    def test_a_label_holds_any_text(self):
        self.assertEqual(build.label("a.b", 'x "y" $z'), 'LABEL a.b="x \\"y\\" \\$z"')

    def test_settings_are_those_of_the_dockerfile(self):
        dockerfile = (build.HERE / "Dockerfile").read_text(encoding="utf-8")
        for target, program in (("plugin", "/usr/bin/plugin"), ("coordinator", "/usr/bin/metafleet")):
            settings = build.settings(dockerfile, target)
            self.assertIn("USER 65532:65532", settings, target)
            self.assertIn(f'ENTRYPOINT ["{program}"]', settings, target)
        self.assertIn('CMD ["coordinator"]', build.settings(dockerfile, "coordinator"))
        self.assertNotIn("/data", " ".join(build.settings(dockerfile, "plugin")))


class Programs(unittest.TestCase):
    def test_an_installation_without_programs_is_told(self):
        with tempfile.TemporaryDirectory() as folder, self.assertRaises(build.Problem) as raised:
            build.ready_programs(Path(folder), Path(folder) / "nats-server")
        self.assertIn("make build", str(raised.exception))

    def test_a_command_that_hangs_is_ended(self):
        with self.assertRaises(build.Problem) as raised:
            build.run(["sleep", "60"], 1)
        self.assertIn("longer than 1 s", str(raised.exception))


if __name__ == "__main__":
    unittest.main()
