"""Counts the lines and words of text files."""

from __future__ import annotations

from metafleet import Context, Outcome, PermanentError, Plugin, Settings, Skipped


class TextStats(Plugin):
    """The plugin; manifest.json beside this file says what it is. One value serves all tasks of a process."""

    min_word_length: float = 1

    def configure(self, settings: Settings) -> None:
        length = settings.get("minWordLength", 1)
        if not 1 <= length <= 1000:
            raise ValueError("minWordLength must be 1 to 1000")
        self.min_word_length = length

    def process(self, ctx: Context) -> Outcome:
        with ctx.open() as file:
            data = file.read()
        if not data:
            return Skipped("the file is empty")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            # What is not text now will not be text at the next attempt.
            raise PermanentError(f"not UTF-8 at byte {error.start}") from error
        return {
            "@ID@/lines": text.count("\n") + (not text.endswith("\n")),
            "@ID@/words": sum(len(word) >= self.min_word_length for word in text.split()),
        }
