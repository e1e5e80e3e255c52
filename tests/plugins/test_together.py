"""The plugins in TypeScript, Go, shell and Python, packed and installed into one fleet, over one library."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import struct
import tarfile
import tempfile
import unittest
import zipfile
from pathlib import Path
from typing import Any

from fleet import REPOSITORY, STAGE, Fleet, demo_library, the_stand_in

OTHERS = ("torrent", "image-exif", "archive-listing", "tmdb")
PICTURE = "Pictures/Dusk over the harbour.jpg"
FILM = "The Quiet Harbour (2019).mkv"
PIECE = 16_384


def bencoded(value: Any) -> bytes:
    """A value as torrent files have it."""
    match value:
        case int():
            return b"i%de" % value
        case bytes():
            return b"%d:%s" % (len(value), value)
        case str():
            return bencoded(value.encode())
        case list():
            return b"l%se" % b"".join(map(bencoded, value))
        case dict():
            return b"d%se" % b"".join(bencoded(part) for item in sorted(value.items()) for part in item)
    raise TypeError(f"{value!r}")


def described(path: Path) -> dict[str, Any]:
    """The info dictionary of a file, with the hashes of its pieces."""
    octets = path.read_bytes()
    pieces = b"".join(hashlib.sha1(octets[at:at + PIECE]).digest() for at in range(0, len(octets), PIECE))
    return {"name": path.name, "length": len(octets), "piece length": PIECE, "pieces": pieces}


def with_camera(jpeg: bytes) -> bytes:
    """The same picture with EXIF: maker, camera, and the time in a directory of its own."""
    fields = [(0x010F, b"Harbour Optics\0"), (0x0110, b"Lantern 3\0")]
    # A TIFF file, big end first: its directory has these and a link to the next one, which follows all texts.
    behind = 8 + 2 + 12 * (len(fields) + 1) + 4
    directory, texts = b"", b""
    for number, text in fields:
        directory += struct.pack(">HHII", number, 2, len(text), behind + len(texts))
        texts += text
    taken = b"2024:05:06 07:08:09\0"
    further = behind + len(texts)
    directory += struct.pack(">HHII", 0x8769, 4, 1, further)
    second = struct.pack(">HHHIII", 1, 0x9003, 2, len(taken), further + 18, 0)
    tiff = b"MM\0*" + struct.pack(">IH", 8, len(fields) + 1) + directory + bytes(4) + texts + second + taken
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


def fill(library: Path) -> None:
    """A film, its torrent, a picture with EXIF, archives, and one of each that is broken."""
    demo = demo_library()
    film = library / FILM
    shutil.copy(demo / f"Movies/The Quiet Harbour (2019)/{FILM}", film)
    whole = bencoded({"announce": "http://tracker.example/announce", "info": described(film)})
    (library / "film.torrent").write_bytes(whole)
    (library / "cut.torrent").write_bytes(whole[: len(whole) // 2])
    (library / "dusk.jpg").write_bytes(with_camera((demo / PICTURE).read_bytes()))
    (library / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe1\0\x10Exif\0\0")
    with tarfile.open(library / "letters.tgz", "w:gz") as archive:
        # The second one cannot be packed much, so that half of the archive ends in it.
        noise = b"".join(hashlib.sha256(b"%d" % at).digest() for at in range(256))
        for name, text in (("letters/one.txt", b"Dear harbour"), ("letters/two.md", noise)):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    with zipfile.ZipFile(library / "letters.zip", "w") as archive:
        archive.writestr("letters/three.txt", "Dear ferry")
    packed = (library / "letters.tgz").read_bytes()
    (library / "cut.tgz").write_bytes(packed[: len(packed) // 2])


class Together(unittest.TestCase):
    def says_what_it_is(self, fleet: Fleet, plugin: str) -> None:
        """What runs has told the fleet what its manifest says: what it reads, what it writes, which settings it has."""
        written = json.loads((REPOSITORY / "plugins" / plugin / "manifest.json").read_text())
        told = fleet.read("plugin", "show", plugin)["manifest"]
        for field in ("id", "name", "version", "description", "dependencies", "reads", "filter"):
            self.assertEqual(told.get(field) or None, written.get(field) or None, f"{field} of {plugin}")
        self.assertEqual(set(told["dataSchema"]), set(written["dataSchema"]))
        self.assertEqual(set(told.get("configSchema", {})), set(written.get("configSchema", {})))

    def test_each_writes_its_record_in_one_scan(self) -> None:
        library = Path(tempfile.mkdtemp(prefix="library-"))
        self.addCleanup(shutil.rmtree, library, ignore_errors=True)
        fill(library)
        stand_in = the_stand_in()
        api = stand_in.StandIn([{"id": 501, "title": "The Quiet Harbour", "release_date": "2019-03-01"}])
        api.answers = {"/3/movie/501": {**api.films[0], "overview": "A ferry that is late."}}
        api.begin()
        self.addCleanup(api.end)
        fleet = Fleet(TMDB_TOKEN=stand_in.TOKEN)
        self.addCleanup(fleet.close)
        for plugin in OTHERS:
            fleet.install(plugin)
        fleet.settle(tmdb={"permissions": ["network.http"], "config": {"token": "${TMDB_TOKEN}", "apiUrl": api.url}})
        fleet.up("--plugin-dir", str(STAGE / "plugins"))
        fleet.serves(*OTHERS, "filename-parser")

        for plugin in OTHERS:
            self.says_what_it_is(fleet, plugin)

        # Some files are broken: partial success.
        fleet.run("scan", str(library), "--wait", "--only", *OTHERS, code=6)

        film, torrent, picture, packed, zipped = (fleet.meta(library / name) for name in (FILM, "film.torrent", "dusk.jpg", "letters.tgz", "letters.zip"))
        self.assertEqual(film["plot"], "A ferry that is late.")
        info = described(library / FILM)
        self.assertEqual(torrent["torrent/infoHash"], hashlib.sha1(bencoded(info)).hexdigest())
        self.assertEqual((torrent["torrent/files/0/path"], torrent["torrent/size"]), (FILM, str(info["length"])))
        self.assertEqual((picture["image/camera/make"], picture["image/camera/model"]), ("Harbour Optics", "Lantern 3"))
        self.assertEqual((picture["image/taken"], picture["image/width"]), ("2024-05-06T07:08:09", "640"))
        self.assertEqual((packed["archive/entries"], packed["archive/largest"], packed["archive/totalSize"]), ("2", "letters/two.md", "8204"))
        self.assertEqual(packed["archive/topFolders"], ["letters"])
        if shutil.which("unzip"):
            self.assertEqual(zipped["archive/list"], [{"name": "letters/three.txt", "size": 10}])
        else:
            self.assertIn("unzip", fleet.outcome("archive-listing", library / "letters.zip")["note"])

        for name, plugin in (("cut.torrent", "torrent"), ("cut.jpg", "image-exif"), ("cut.tgz", "archive-listing")):
            outcome = fleet.outcome(plugin, library / name)
            self.assertEqual((outcome["status"], outcome["attempt"]), ("failed", 1), f"{name} is broken for good: {outcome}")
        self.assertEqual(len(fleet.read("dead", "list")), 3)


if __name__ == "__main__":
    unittest.main()
