"""Counts the lines of text files."""

from metafleet import Context, Outcome, Plugin, Skipped, run


class LineCounter(Plugin):
    manifest = {
        "id": "line-counter", "name": "Line counter", "version": "1.0.0", "priority": 50, "queue": "fast",
        "filter": {"mimeTypes": ["text/*"]},
        "dataSchema": {"text/lines": {"label": "Lines", "type": "string"}},
    }

    def process(self, ctx: Context) -> Outcome:
        with ctx.open() as file:
            lines = sum(1 for _ in file)
        return {"text/lines": lines} if lines else Skipped("the file is empty")


if __name__ == "__main__":
    run(LineCounter)
