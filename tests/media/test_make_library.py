"""The library holds what the demo and the plugins' tests count on."""

import hashlib
import json
import subprocess
import tempfile
import unittest
from pathlib import Path

import make_library


def sums(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def probe(path):
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams", "-show_chapters", str(path)]
    done = subprocess.run(command, capture_output=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def languages(found, kind):
    return [one["tags"].get("language") for one in found["streams"] if one["codec_type"] == kind]


class Library(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temp = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temp.cleanup)
        cls.folder = Path(cls.temp.name, "library")
        make_library.make(cls.folder)

    def test_it_holds_every_file_it_promises_and_no_other(self):
        self.assertEqual(set(sums(self.folder)), make_library.expected())
        self.assertGreaterEqual(len(make_library.expected()), 25)

    def test_it_comes_out_the_same_each_time(self):
        again = Path(self.temp.name, "again")

        make_library.make(again)

        self.assertEqual(sums(again), sums(self.folder))

    def test_a_complete_library_is_left_alone(self):
        before = {path: path.stat().st_ctime_ns for path in self.folder.rglob("*")}

        self.assertFalse(make_library.make(self.folder))

        self.assertEqual({path: path.stat().st_ctime_ns for path in self.folder.rglob("*")}, before)

    def test_a_missing_file_or_an_older_version_makes_it_anew(self):
        other = Path(self.temp.name, "other")
        make_library.make(other)
        (other / "Odd/notes.txt").unlink()

        self.assertTrue(make_library.make(other))
        self.assertTrue((other / "Odd/notes.txt").exists())

        other.with_name("other.version").write_text("0\n")
        self.assertTrue(make_library.make(other))

    def test_a_folder_of_somebody_else_is_not_touched(self):
        foreign = Path(self.temp.name, "foreign")
        foreign.mkdir()
        (foreign / "mine.txt").write_text("keep")

        with self.assertRaisesRegex(SystemExit, "did not make"):
            make_library.make(foreign)

        self.assertEqual([path.name for path in foreign.iterdir()], ["mine.txt"])

    def test_the_film_has_languages_chapters_and_tags(self):
        found = probe(self.folder / f"{make_library.HARBOUR}.mkv")

        self.assertEqual(languages(found, "audio"), ["eng", "jpn"])
        self.assertEqual(languages(found, "subtitle"), ["eng", "ger"])
        self.assertEqual([one["tags"]["title"] for one in found["chapters"]], ["Arrival", "The Pier", "Departure"])
        self.assertEqual(found["format"]["tags"]["title"], "The Quiet Harbour")

    def test_each_container_has_the_streams_it_is_there_for(self):
        table = [
            # file, video codec, audio languages, subtitle languages
            (f"{make_library.SUMMER}.mp4", "h264", ["fra", "eng"], ["fra"]),
            (f"{make_library.SHOW}/Season 01/Night Signal - S01E01 - Pilot.webm", "vp8", ["eng", "spa"], []),
            (f"{make_library.EPISODE}.mkv", "h264", ["eng"], ["eng"]),
            (f"{make_library.ANIME}.mkv", "h264", ["jpn", "eng"], ["eng", "por"]),
        ]
        for name, codec, audio, subtitle in table:
            found = probe(self.folder / name)
            self.assertEqual(found["streams"][0]["codec_name"], codec, name)
            self.assertEqual(languages(found, "audio"), audio, name)
            self.assertEqual(languages(found, "subtitle"), subtitle, name)

    def test_the_music_has_tags(self):
        for name in ("01 - First Light.flac", "02 - Second Wind.mp3"):
            tags = probe(self.folder / make_library.ALBUM / name)["format"]["tags"]
            tags = {key.lower(): value for key, value in tags.items()}
            self.assertEqual((tags["artist"], tags["album"]), ("Lantern Street", "First Light"), name)

    def test_the_broken_files_are_broken(self):
        for name in ("download interrupted.mp4", "not really a film.mp4", "nothing at all.mkv"):
            self.assertIsNone(probe(self.folder / "Odd" / name), name)

    def test_one_file_is_there_twice_and_one_is_large_enough_to_be_sampled(self):
        copies = sums(self.folder)

        self.assertEqual(copies[make_library.COPY], copies[make_library.ORIGINAL])
        self.assertEqual(len(set(copies.values())), len(copies) - 1)
        self.assertGreater(max(path.stat().st_size for path in self.folder.rglob("*")), 1 << 20)


if __name__ == "__main__":
    unittest.main()
