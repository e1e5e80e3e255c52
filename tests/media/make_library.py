#!/usr/bin/env python3
"""Makes a small library of real media files for the demo and for tests.

The files are the same on every run with the same ffmpeg: nothing random, no time of day. Python's standard
library only; ffmpeg does the encoding.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sidecars

# Raise it with every change of what is made: an older library is then made anew.
VERSION = "2"
ORIGINAL = "Pictures/Dusk over the harbour.jpg"
COPY = "Copies/harbour backup.jpg"
# All files carry this time of change, so that a library made anew looks unchanged to a scanner.
MODIFIED = 1_704_067_200 + 86_400 * int(VERSION)

HARBOUR = "Movies/The Quiet Harbour (2019)/The Quiet Harbour (2019)"
SCENE = "Movies/The.Long.Way.Home.2021.1080p.BluRay.x264-GROUP"
SUMMER = "Movies/Été à la mer (2020)/Été à la mer (2020)"
SHOW = "Shows/Night Signal"
EPISODE = f"{SHOW}/Season 01/Night.Signal.S01E02.The.Relay.720p.WEB-DL.AAC2.0.H.264-TEAM"
ANIME = "Anime/Show Title/[Group] Show Title - 03 [1080p][ABCD1234]"
ALBUM = "Music/Lantern Street/First Light"

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "30", "-pix_fmt", "yuv420p")
AAC = ("-c:a", "aac", "-b:a", "48k")
FLAC = ("-c:a", "flac")
PICTURE = ("-frames:v", "1", "-update", "1")


class Clip:
    """One ffmpeg call: inputs in order, then what is said about the output."""

    def __init__(self, seconds: float = 3) -> None:
        self.seconds = seconds
        self.inputs: list[str] = []
        self.maps: list[str] = []
        self.output: list[str] = []
        self.count = {"a": 0, "s": 0}
        self.files: list[str] = []

    def _input(self, kind: str, *args: str) -> None:
        self.maps += ["-map", f"{len(self.files)}:{kind}"]
        self.files.append(args[-1])
        self.inputs += [*args[:-1], "-i", args[-1]]

    def video(self, size: str = "320x180", source: str = "testsrc2", *codec: str) -> Clip:
        length = f":duration={self.seconds}" if self.seconds else ""
        self._input("v", "-f", "lavfi", f"{source}=size={size}:rate=24{length}")
        self.output += codec or H264
        return self

    def audio(self, language: str, pitch: int, title: str = "", *codec: str) -> Clip:
        self._input("a", "-f", "lavfi", f"sine=frequency={pitch}:duration={self.seconds}:sample_rate=48000")
        self._stream("a", language, title, codec or AAC)
        return self

    def subtitle(self, language: str, source: Path, title: str = "", *codec: str) -> Clip:
        self._input("s", str(source))
        self._stream("s", language, title, codec or ("-c:s", "srt"))
        return self

    def _stream(self, kind: str, language: str, title: str, codec: tuple[str, ...]) -> None:
        number = self.count[kind]
        self.count[kind] += 1
        self.output += [f"{codec[0]}:{number}", *codec[1:]]
        for key, value in (("language", language), ("title", title)):
            if value:
                self.output += [f"-metadata:s:{kind}:{number}", f"{key}={value}"]

    def default_audio(self, number: int) -> Clip:
        for other in range(self.count["a"]):
            self.output += [f"-disposition:a:{other}", "default" if other == number else "0"]
        return self

    def forced_subtitle(self, number: int) -> Clip:
        self.output += [f"-disposition:s:{number}", "forced"]
        return self

    def chapters(self, source: Path) -> Clip:
        self.output += ["-map_chapters", str(len(self.files))]
        self.files.append(str(source))
        self.inputs += ["-i", str(source)]
        return self

    def tags(self, **tags: str) -> Clip:
        for key, value in tags.items():
            self.output += ["-metadata", f"{key}={value}"]
        return self

    def extra(self, *args: str) -> Clip:
        self.output += args
        return self

    def write(self, target: Path) -> None:
        exact = ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact", "-threads", "1"]
        command = ["ffmpeg", "-nostdin", "-v", "error", "-y"]
        command += [*self.inputs, *self.maps, *self.output, *exact, str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"error: ffmpeg could not make {target.name}: {done.stderr.strip()}")


def clips(work: Path) -> dict[str, Clip]:
    """Every file that ffmpeg makes, by its path in the library; `work` holds what it reads."""
    english, german = work / "english.srt", work / "german.srt"
    harbour = (
        Clip(6).video().audio("eng", 440, "Main").audio("jpn", 330, "Commentary", *FLAC)
        .subtitle("eng", english, "English").subtitle("ger", german, "Deutsch (forced)")
        .default_audio(0).forced_subtitle(1).chapters(work / "chapters.txt")
        .tags(title="The Quiet Harbour", DATE_RELEASED="2019-05-03", comment="made for a demo")
    )
    # Over 1 MiB, so that its identity is taken from a sample and not from the whole file.
    scene = Clip(5).video("640x360", "testsrc2", "-c:v", "mpeg4", "-b:v", "4M", "-minrate", "4M", "-bf", "2")
    summer = (
        Clip(4).video().audio("fra", 523, "Français").audio("eng", 587, "English")
        .subtitle("fra", work / "french.srt", "", "-c:s", "mov_text")
        .tags(title="Été à la mer", artist="Anaïs Müller", date="2020", genre="Drama")
    )
    webm = (
        Clip(3).video("320x180", "testsrc", "-c:v", "libvpx", "-b:v", "150k", "-deadline", "realtime", "-cpu-used", "8")
        .audio("eng", 392, "", "-c:a", "libopus", "-b:a", "48k")
        .audio("spa", 349, "", "-c:a", "libopus", "-b:a", "48k").tags(title="Pilot")
    )
    anime = (
        Clip(4).video("426x240", "smptehdbars").audio("jpn", 494).audio("eng", 466)
        .subtitle("eng", work / "signs.ass", "Signs & Songs", "-c:s", "ass")
        .subtitle("por", english, "Português", "-c:s", "srt").tags(title="Show Title - 03")
    )
    track = {"artist": "Lantern Street", "album": "First Light", "album_artist": "Lantern Street", "date": "2018"}
    return {
        f"{HARBOUR}.mkv": harbour,
        f"{SCENE}/{Path(SCENE).name}.mkv": scene.audio("eng", 262, "", "-c:a", "ac3", "-b:a", "192k"),
        f"{SUMMER}.mp4": summer,
        f"{SHOW}/Season 01/Night Signal - S01E01 - Pilot.webm": webm,
        f"{EPISODE}.mkv": Clip(3).video("426x240").audio("eng", 659).subtitle("eng", english),
        f"{ANIME}.mkv": anime,
        "Anime/夜の信号 第04話.mkv": Clip(3).video("320x180", "smptebars").audio("jpn", 698, "日本語"),
        f"{ALBUM}/01 - First Light.flac": Clip(4).audio("", 440, "", *FLAC)
        .tags(title="First Light", track="1/2", genre="Ambient", **track),
        f"{ALBUM}/02 - Second Wind.mp3": Clip(4).audio("", 550, "", "-c:a", "libmp3lame", "-b:a", "64k")
        .tags(title="Second Wind", track="2/2", genre="Ambient", **track).extra("-id3v2_version", "3"),
        f"{ALBUM}/cover.jpg": Clip(0).video("300x300", "testsrc", "-c:v", "mjpeg", *PICTURE, "-strict", "unofficial"),
        ORIGINAL:
            Clip(0).video("640x480", "smptehdbars", "-c:v", "mjpeg", *PICTURE, "-strict", "unofficial"),
        "Pictures/diagram.png": Clip(0).video("200x120", "testsrc2", "-c:v", "png", *PICTURE),
    }


def texts() -> dict[str, str]:
    """Every file that is text, by its path in the library."""
    return {
        f"{HARBOUR}.nfo": sidecars.MOVIE,
        f"{HARBOUR}.en.srt": sidecars.ENGLISH,
        f"{HARBOUR}.de.forced.srt": sidecars.GERMAN,
        f"{SCENE}/movie.nfo": sidecars.SCENE_MOVIE,
        f"{SUMMER}.fr.srt": sidecars.FRENCH,
        f"{SHOW}/tvshow.nfo": sidecars.SHOW,
        f"{EPISODE}.nfo": sidecars.EPISODE,
        f"{EPISODE}.pt-BR.ass": sidecars.PORTUGUESE,
        f"{ANIME}.en.ass": sidecars.SIGNS,
        "Odd/not really a film.mp4": "This is text, whatever the name says.\n",
        "Odd/notes.txt": "A text file among the films.\n",
        "Odd/nothing at all.mkv": "",
    }


def fill(library: Path, work: Path) -> None:
    """Makes every file below the empty folder `library`."""
    inputs = {
        "english.srt": sidecars.ENGLISH, "german.srt": sidecars.GERMAN, "french.srt": sidecars.FRENCH,
        "signs.ass": sidecars.SIGNS, "chapters.txt": sidecars.CHAPTERS,
    }
    for name, text in inputs.items():
        (work / name).write_text(text, encoding="utf-8")
    for name, text in texts().items():
        target = library / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    made = clips(work)
    for name in made:
        (library / name).parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda item: item[1].write(library / item[0]), made.items()))

    (library / "Copies").mkdir()
    shutil.copyfile(library / ORIGINAL, library / COPY)
    # The index of an mp4 stands at its end: without it no player can open the file.
    whole = (library / f"{SUMMER}.mp4").read_bytes()
    (library / "Odd/download interrupted.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    for path in library.rglob("*"):
        os.utime(path, (MODIFIED, MODIFIED))


def expected() -> set[str]:
    """The paths of all files of a complete library."""
    return {*texts(), *clips(Path()), COPY, "Odd/download interrupted.mp4"}


def make(folder: Path, force: bool = False) -> bool:
    """Makes the library at `folder`; False if the one that is there is this one already.

    The marker lies beside the folder, not in it, where a scanner would take it for a file of the library.
    A folder without a marker is somebody's own and is not touched.
    """
    folder = folder.resolve()
    marker = folder.with_name(f"{folder.name}.version")
    found = marker.read_text(encoding="utf-8").strip() if marker.exists() else None
    if found == VERSION and not force and all((folder / name).is_file() for name in expected()):
        return False
    if folder.exists() and found is None and any(folder.iterdir()):
        raise SystemExit(f"error: {folder} holds files that this program did not make; choose another folder")
    if missing := [program for program in ("ffmpeg",) if shutil.which(program) is None]:
        raise SystemExit(f"error: {missing[0]} is missing; deploy/tools/ffmpeg.sh installs it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temp:
        library, work = Path(temp, "library"), Path(temp, "work")
        library.mkdir()
        work.mkdir()
        fill(library, work)
        if folder.exists():
            shutil.rmtree(folder)
        library.rename(folder)
    marker.write_text(f"{VERSION}\n", encoding="utf-8")
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes a small library of real media files, about 27, in FOLDER.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where; made if it is not there")
    parser.add_argument("--force", action="store_true", help="make it anew even if it is complete")
    options = parser.parse_args()
    if make(options.folder, options.force):
        print(f"made {len(expected())} files in {options.folder}", file=sys.stderr)
    else:
        print(f"{options.folder} is complete, nothing to do", file=sys.stderr)


if __name__ == "__main__":
    main()
