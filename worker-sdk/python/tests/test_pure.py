"""Tables for the decisions: no broker, no clock, no files."""

from __future__ import annotations

import re
import sys
import unittest
from pathlib import Path
from typing import Any

from metafleet import delivery, logs, midhash
from metafleet.artifact import describe
from metafleet.codec import InvalidToken, decode, encode
from metafleet.delivery import Place
from metafleet.leases import Held, Known, Leases
from metafleet.manifest import settings_of
from metafleet.mask import Mask
from metafleet.meta import DataSchema, InvalidMeta, matches
from metafleet.names import MAIN, Names, consumer
from metafleet.options import InvalidOptions, Options
from metafleet.paths import InvalidPathMap, PathMap, beside, path_fields, path_of, query_of
from metafleet.share import Policy
from metafleet.standing import Standing
from metafleet.text import dump, short
from metafleet.verdict import Follows, Verdict, policy_of, verdict

ROOT = Path(__file__).resolve().parents[3]
PROTOCOL = ROOT / "broker-config" / "PROTOCOL.md"


def table(mark: str) -> list[list[str]]:
    """The rows of the table behind a mark in PROTOCOL.md, without the marks of code."""
    lines = PROTOCOL.read_text(encoding="utf-8").split(f"<!-- {mark} -->\n", 1)[1].splitlines()
    rows = []
    for line in lines[2:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return rows


class Protocol(unittest.TestCase):
    """The tables of PROTOCOL.md hold here."""

    def test_the_codec_is_that_of_the_protocol(self) -> None:
        rows = table("codec")
        self.assertGreater(len(rows), 6)
        for text, token in rows:
            text = "" if text == "(empty)" else text
            self.assertEqual((encode(text), decode(token)), (token, text))
        for token, why in table("codec-refused"):
            with self.assertRaises(InvalidToken, msg=why):
                decode(token)
        with self.assertRaises(InvalidToken):
            decode("=FF")

    def test_names_are_those_of_the_protocol(self) -> None:
        known = {what: names for what, *names in table("names: mf my-fleet")}
        cid = "midhash256:ab"
        for column, prefix in enumerate(("mf", "my-fleet")):
            names = Names(prefix)
            for what, made in {
                "stream of tasks": names.task_stream(),
                "submission": names.submit("fast"),
                "task": names.task("fast", "ffmpeg", cid),
                "consumer of tasks": consumer("ffmpeg", MAIN, "fast"),
                "task of a version that is tried": names.task("fast", "ffmpeg", cid, "next"),
                "consumer of such tasks": consumer("ffmpeg", "next", "fast"),
                "outcome of a trial, no record": names.record("ffmpeg", cid, trial=True),
                "record": names.record("ffmpeg", cid),
                "artefact `still.jpg` of a file": names.artifact("ffmpeg", cid, "still.jpg"),
                "announcement": names.signal("ffmpeg", "announce"),
                "signal `failed`": names.signal("ffmpeg", "failed"),
                "sign of life": names.instance("ffmpeg", "ffmpeg-1"),
                "control, every instance of a plugin": names.control("ffmpeg"),
                "control, one instance": names.control("ffmpeg", "ffmpeg-1"),
            }.items():
                row = known.get(what) or known[what.rstrip("`")]
                self.assertEqual(made, row[column], what)

    def test_an_artefact_is_described_by_the_fields_of_the_protocol(self) -> None:
        fields = [name for name, _, _, missing in table("artifact") if missing == "required"]
        self.assertEqual(list(describe("still.jpg", "image/jpeg", b"")), fields)

    def test_content_ids_are_those_of_the_protocol(self) -> None:
        content = {
            "nothing": b"", "hello": b"hello", "zeros": b"\0" * midhash.SAMPLE_BYTES,
            "byte *i* = *i* mod 251": bytes(i % 251 for i in range(3_145_728)),
        }
        for name, size, cid in table("midhash"):
            data = content[name]
            offset, length = midhash.sample_of(int(size))
            self.assertEqual(midhash.cid_of(int(size), (data + b"\0")[offset : offset + length]), cid, name)

    def test_types_are_generated_from_the_schemas(self) -> None:
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
        import generate_types

        for name, text in generate_types.generate().items():
            made = (generate_types.TARGET / name).read_text(encoding="utf-8")
            self.assertEqual(made, text, f"run `python3 generate_types.py`: {name}")

    def test_the_subject_of_a_task_is_read_and_nothing_else(self) -> None:
        names = Names("mf")
        address = names.parse_task("mf.task.background.ffmpeg_gpu.a=2Eb")
        assert address is not None
        self.assertEqual(address[:4], ("background", "ffmpeg", "gpu", "a.b"))
        for subject in ("mf.task.fast.ffmpeg", "xx.task.fast.f.a", "mf.task.slow.f.a", "mf.task.fast.F.a", "mf.task.fast.f.=3a"):
            self.assertIsNone(names.parse_task(subject), subject)


class Deliveries(unittest.TestCase):
    def test_both_forms_of_the_reply_subject_are_read(self) -> None:
        for reply, expected in {
            "$JS.ACK.MF_TASKS.x_fast.3.100.7.1700000000.42": Place(3, 100, 1700000000, 42),
            "$JS.ACK._.szMpdrwD.MF_TASKS.x_fast.1.2.3.1700000000.4": Place(1, 2, 1700000000, 4),
            "$JS.ACK.hub.szMpdrwD.MF_TASKS.x_fast.1.2.3.1700000000.0.a.b": Place(1, 2, 1700000000, 0),
            "$JS.ACK.MF_TASKS.x_fast.3.100.7.1700000000": None,
            "$JS.ACK.MF_TASKS.x_fast.3.100.7.1700000000.4.5": None,
            "$JS.ACK.MF_TASKS.x_fast.x.100.7.1700000000.42": None,
            "_INBOX.abc": None,
            "": None,
        }.items():
            self.assertEqual(Place.parse(reply), expected, reply)

    def test_answers_are_spelled_as_the_broker_reads_them(self) -> None:
        self.assertEqual(delivery.nak(500), b'-NAK {"delay":500000000}')
        self.assertEqual(delivery.nak(0), b'-NAK {"delay":1000000}')
        self.assertEqual(delivery.term(""), b"+TERM")
        self.assertEqual(delivery.term("broken\r\nfile"), b"+TERM broken  file")
        self.assertEqual(delivery.term("x" * 255 + "é"), b"+TERM " + b"x" * 255)

    def test_what_follows_from_a_failure(self) -> None:
        retry: Any = {"maxAttempts": 4, "delaysMs": [100, 70_000]}
        for attempt, permanent, expected in (
            (1, False, Verdict(Follows.RETRY, 100)), (2, False, Verdict(Follows.DEFER, 70_000)),
            (3, False, Verdict(Follows.DEFER, 70_000)), (4, False, Verdict(Follows.GIVE_UP)),
            (9, False, Verdict(Follows.GIVE_UP)), (1, True, Verdict(Follows.GIVE_UP)),
        ):
            self.assertEqual(verdict(retry, attempt, permanent=permanent), expected, attempt)
        self.assertEqual(verdict({"maxAttempts": 2, "delaysMs": []}, 1, permanent=False).delay_ms, 1000)
        self.assertEqual(policy_of({})["delaysMs"], [1000, 2000])
        self.assertEqual(policy_of({"retry": {"maxAttempts": 4, "maxDelay": 3000}})["delaysMs"], [1000, 2000, 3000])
        self.assertEqual(policy_of({"retry": {"backoff": "fixed"}})["delaysMs"], [1000, 1000])

    def test_texts_are_cut_at_a_character(self) -> None:
        for text, size in (("x" * 4096, 4096), ("x" * 4097, 4096), ("é" * 4096, 4095), ("short", 5)):
            self.assertEqual(len(short(text).encode()), size)
        self.assertEqual(dump({"a": "caf\udce9"}), '{"a":"caf�"}'.encode())


class LeaseTable(unittest.TestCase):
    def begin(self, leases: Leases, reply: str, place: Place, now: float, until: float) -> Held:
        held = leases.begin("task", reply, place, now, until)
        assert isinstance(held, Held), held
        return held

    def test_a_lease_is_renewed_every_third_until_its_time_is_up(self) -> None:
        leases = Leases()
        leases.lease = 9.0
        self.begin(leases, "reply", Place(1, 1, 0, 0), 0, until=10)
        self.assertEqual([at for at in range(1, 20) if list(leases.due(at, 1))], [2, 4, 6, 8])

    def test_one_that_was_once_renewed_too_late_is_not_sure_any_more(self) -> None:
        leases = Leases()
        leases.lease = 8.0
        held = self.begin(leases, "reply", Place(1, 1, 0, 0), 0, until=100)
        sure = []
        for at in (3, 6, 13, 14):
            leases.told(held, at)
            sure.append(held.sure)
        self.assertEqual(sure, [10, 13, 13, 13])
        self.assertIs(leases.begin("task", "again", Place(2, 1, 0, 0), 20, 100), Known.RUNNING)
        self.assertEqual(held.sure, 27)

    def test_what_was_answered_meanwhile_is_not_renewed(self) -> None:
        leases = Leases()
        leases.lease = 9.0
        first, second = (leases.begin(subject, "reply", Place(1, 1, 0, 0), 0, 10) for subject in ("a", "b"))
        assert isinstance(first, Held) and isinstance(second, Held)
        due = leases.due(3, 1)
        self.assertIs(next(due), first)
        leases.end(second)
        self.assertEqual(list(due), [])

    def test_the_same_message_is_not_run_twice(self) -> None:
        leases = Leases()
        held = self.begin(leases, "first", Place(1, 1, 0, 0), 0, until=10)
        again = leases.begin("task", "again", Place(2, 1, 0, 0), 1, 10)
        self.assertEqual((again, held.reply, held.delivered), (Known.RUNNING, "again", 2))
        leases.remember(held)
        leases.end(held)
        self.assertIs(leases.begin("task", "later", Place(3, 1, 0, 0), 2, 10), Known.SETTLED)

    def test_an_attempt_that_has_had_its_time_gives_way(self) -> None:
        leases = Leases()
        hung = self.begin(leases, "first", Place(1, 1, 0, 0), 0, until=1)
        second = self.begin(leases, "second", Place(2, 1, 0, 0), 2, until=9)
        leases.end(hung)
        self.assertIs(leases.begin("task", "third", Place(3, 1, 0, 0), 3, 9), Known.RUNNING)
        self.assertEqual(second.reply, "third")

    def test_a_task_that_was_published_anew_is_another_one_and_memory_is_bounded(self) -> None:
        leases = Leases()
        for sequence in range(1, 20_000):
            held = self.begin(leases, "reply", Place(1, sequence, 0, 0), 0, until=10)
            leases.remember(held)
            leases.end(held)
        self.assertEqual((len(leases), len(leases._settled)), (0, 16_384))


class Metadata(unittest.TestCase):
    SCHEMA: Any = {
        "id": "x", "dataSchema": {
            "title": {}, "tags": {"type": "set"}, "raw": {"type": "json"}, "a/{n}/*": {}, "b": {"pattern": "b/*/c", "type": "set"},
        },
    }

    def test_patterns_match_as_documented(self) -> None:
        for pattern, key, expected in (
            ("a/{n}/*", "a/0/c/d", True), ("a/{n}/*", "a/x/c", False), ("a/{n}/*", "a/0", False), ("*", "a/b", True),
            ("*/b", "a/b", True), ("*/b", "a/a/b", False), ("a.b", "axb", False), ("{n}", "١", False),
        ):
            self.assertEqual(matches(pattern, key), expected, (pattern, key))

    def test_values_take_the_shape_of_the_wire(self) -> None:
        schema = DataSchema(self.SCHEMA)
        for key, value, expected in (
            ("title", 12, "12"), ("title", True, "true"), ("title", 1.5, "1.5"), ("title", "", ""), ("title", None, None),
            ("tags", {"b", "a"}, ["a", "b"]), ("tags", ["b", "a", "b"], ["a", "b"]), ("tags", [], None),
            ("raw", {"x": [1]}, {"x": [1]}), ("raw", 5, 5), ("a/0/x", 1, "1"), ("b/z/c", ["q"], ["q"]), ("b", ["q"], ["q"]),
        ):
            self.assertEqual(schema.check({key: value}), {} if expected is None else {key: expected}, (key, value))

    def test_what_is_not_allowed_is_named(self) -> None:
        schema = DataSchema(self.SCHEMA)
        for key, value, words in (
            ("other", "x", "key `other` is not in the dataSchema of x"), ("title", ["x"], "key `title` must be a string"),
            ("tags", "x", "key `tags` must be an array of strings"), ("tags", [1], "key `tags` must be"),
            ("a//b", "x", "metadata key `a//b`"), ("", "x", "metadata key"), ("x" * 513, "x", "metadata key"), ("a\tb", "x", "segments"),
        ):
            with self.assertRaisesRegex(InvalidMeta, re.escape(words)):
                schema.check({key: value})

    def test_what_nests_too_deep_to_be_read_again_is_named(self) -> None:
        schema = DataSchema(self.SCHEMA)
        holds_itself: list[object] = []
        holds_itself.append(holds_itself)
        for around in (lambda inner: [inner], lambda inner: {"a": inner}, lambda inner: (inner,)):
            value: object = "[" * 100
            for _ in range(64):
                value = around(value)
            self.assertEqual(schema.check({"raw": value}), {"raw": value})
            for deep in (around(value), holds_itself):
                with self.assertRaisesRegex(InvalidMeta, "key `raw` nests deeper than 64"):
                    schema.check({"raw": deep})


class Secrets(unittest.TestCase):
    def test_a_secret_is_masked_however_it_is_written(self) -> None:
        mask = Mask(['p@ss/wörd "+1\n'])
        for case, text, expected in [
            ("as it is", 'key=p@ss/wörd "+1\n!', "key=***!"),
            ("percent", "?key=p%40ss%2Fw%C3%B6rd%20%22%2B1%0A&x=1", "?key=***&x=1"),
            ("percent, lower, slash kept", "?key=p%40ss/w%c3%b6rd%20%22%2b1%0a", "?key=***"),
            ("form", "key=p%40ss%2Fw%C3%B6rd+%22%2B1%0A", "key=***"),
            ("JSON", r'{"key":"p@ss/wörd \"+1\n"}', '{"key":"***"}'),
            ("JSON in ASCII", r'{"key":"p@ss\/w\u00f6rd \"+1\n"}', '{"key":"***"}'),
            ("JSON in JSON", r'"{\"key\":\"p@ss/wörd \\\"+1\\n\"}"', r'"{\"key\":\"***\"}"'),
            ("hexadecimal", "7040 704073732f77c3b6726420222b310a", "7040 ***"),
            ("base64", "cEBzcy93w7ZyZCAiKzEK", "***"),
            ("base64 after one", "YXBAc3Mvd8O2cmQgIisxCg", "YX***g"),
            ("nothing", r"p@ss/word and w%C3%B6rd, \u00f6 \x", r"p@ss/word and w%C3%B6rd, \u00f6 \x"),
        ]:
            with self.subTest(case):
                self.assertEqual(mask.text(text), expected)
        self.assertEqual(Mask(["key😀🔑"]).text(r"=key\ud83d\ude00\ud83d\udd11;"), "=***;")

    def test_the_secrets_are_all_settings_that_the_manifest_does_not_say_are_none(self) -> None:
        schema = {"key": {"secret": True}, "parts": {"secret": True}, "pin": {"secret": True}, "site": {}}
        settings = {"key": "hush-more", "parts": '{"a": ["inner-1"]}', "pin": 123456, "site": "example", "unknown": "who?"}
        mask = Mask.of({"configSchema": schema}, settings)
        self.assertEqual(mask.text("example hush-more inner-1 123456 who? x"), "example *** *** *** *** x")
        self.assertEqual(Mask(["abc"]).text("abc"), "abc", "too short to be told from other words")


class Environment(unittest.TestCase):
    def test_variables_are_read_as_documented(self) -> None:
        options = Options.from_environment({
            "METAFLEET_PREFIX": "x", "METAFLEET_ROUTE": "gpu", "METAFLEET_CONCURRENCY": "8", "METAFLEET_GRACE": "1.5s",
            "METAFLEET_QUEUES": "strict", "NATS_USER": "u", "NATS_PASSWORD": "hush", "METAFLEET_INSTANCE": "",
            "METAFLEET_PATHS": "/a=/b:/a/c=/d", "METAFLEET_FILES_URL": "http://h:1/files", "METAFLEET_FILES_TOKEN": "hush",
        })
        self.assertEqual((options.prefix, options.route, options.concurrency, options.grace), ("x", "gpu", 8, 1.5))
        self.assertEqual((options.policy, options.instance, options.paths.local(b"/a/c/x")), (Policy.STRICT, None, b"/d/x"))
        self.assertNotIn("hush", repr(options))
        self.assertEqual(Options.from_environment({}), Options())

    def test_wrong_values_name_their_variable(self) -> None:
        for name, value in (
            ("METAFLEET_PREFIX", "A B"), ("METAFLEET_PLUGIN", "A"), ("METAFLEET_INSTANCE", "a.b"), ("METAFLEET_ROUTE", "main"),
            ("METAFLEET_CONCURRENCY", "0"), ("METAFLEET_GRACE", "-1"), ("METAFLEET_GRACE", "soon"), ("METAFLEET_QUEUES", "both"),
            ("NATS_CERT", "/a.pem"), ("NATS_KEY", "/a.key"), ("NATS_TOKEN_FILE", "/none/there"), ("METAFLEET_PATHS", "a=/b"),
            ("METAFLEET_PATHS", "/a"), ("METAFLEET_FILES_URL", "ftp://x"),
        ):
            with self.assertRaises(InvalidOptions) as caught:
                Options.from_environment({name: value})
            self.assertEqual(caught.exception.name, name)

    def test_only_a_ready_instance_pulls(self) -> None:
        for standing, state in (
            (Standing(), "starting"), (Standing(paused=True), "starting"), (Standing(configured=True), "ready"),
            (Standing(configured=True, paused=True), "paused"), (Standing(configured=True, refused="no"), "failed"),
            (Standing(configured=True, refused="no", paused=True), "failed"), (Standing(configured=True, draining=True), "draining"),
        ):
            self.assertEqual((standing.state, standing.pulling), (state, state == "ready"), standing)

    def test_filters_of_the_log_are_read(self) -> None:
        self.assertEqual(logs.levels("debug"), {"": "DEBUG"})
        self.assertEqual(logs.levels("warn,metafleet.pull=trace,x=off,nonsense"), {"": "WARNING", "metafleet.pull": "DEBUG", "x": "CRITICAL"})

    def test_settings_are_those_that_a_coordinator_would_send(self) -> None:
        manifest: Any = {"configSchema": {
            "key": {"required": True}, "on": {"type": "boolean", "default": False}, "n": {"type": "number"},
            "pick": {"type": "select", "options": [{"value": "a"}], "default": "a"},
        }}
        self.assertEqual(settings_of(manifest, {"key": "k", "n": "5", "on": "true"}), {"key": "k", "on": True, "n": 5, "pick": "a"})
        with self.assertRaisesRegex(ValueError, "other: is not a setting; key: is required; pick: must be a select"):
            settings_of(manifest, {"other": 1, "pick": "z"})


class Paths(unittest.TestCase):
    MAP = PathMap.parse(b"/library/films=/mnt/films:/library=/mnt/all:/odd\xff=/x")

    def test_the_longest_pair_wins_and_whole_segments_count(self) -> None:
        for path, local in (
            (b"/library/films/a.mkv", b"/mnt/films/a.mkv"), (b"/library/filmsx", b"/mnt/all/filmsx"), (b"/library", b"/mnt/all"),
            (b"/elsewhere/a", b"/elsewhere/a"), (b"/odd\xff/\xfe", b"/x/\xfe"),
        ):
            self.assertEqual(self.MAP.local(path), local)
            self.assertEqual(self.MAP.library(local), path)
        root = PathMap.parse(b"/=/mnt/")
        self.assertEqual((root.local(b"/a/b"), root.library(b"/mnt/a/b")), (b"/mnt/a/b", b"/a/b"))
        for text in (b"/a", b"a=/b", b"/a=b", b"/a=/b:", b"=/b"):
            with self.assertRaises(InvalidPathMap, msg=text):
                PathMap.parse(text)

    def test_sidecars_lie_beside_their_file(self) -> None:
        self.assertEqual(beside(b"/a/b/c.mkv", "c.srt"), b"/a/b/c.srt")
        self.assertEqual(beside(b"/a/b/c.mkv", "../tvshow.nfo"), b"/a/tvshow.nfo")
        for name in ("", "..", "../..", "../../x", "/etc/passwd", "x/y", "a\0b"):
            with self.assertRaises(ValueError, msg=name):
                beside(b"/a/b/c.mkv", name)

    def test_bytes_of_paths_survive(self) -> None:
        for path in (b"/a/caf\xe9", "/a/é 日本".encode(), b"/plain"):
            task: Any = path_fields(path)
            self.assertEqual(path_of(task), path)
        self.assertEqual(query_of(b"/a b/\xff%~"), "path=/a%20b/%FF%25~")


if __name__ == "__main__":
    unittest.main()
