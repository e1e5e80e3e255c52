"""The plugin `line-counter`: counts the lines of text files."""

import codecs

from contract import Permanent, Skipped, Task
from worker import serve


class LineCounter:
    manifest = {
        "id": "line-counter", "name": "Line counter", "version": "1.0.0", "priority": 50, "queue": "fast",
        "filter": {"mimeTypes": ["text/*"]},
        "dataSchema": {"text/lines": {"label": "Lines", "type": "string"}},
        "configSchema": {"encoding": {"label": "Encoding", "default": "utf-8"}},
    }

    def configure(self, settings: dict):
        self.encoding = codecs.lookup(settings["encoding"]).name

    def process(self, task: Task) -> dict:
        try:
            with open(task.path, encoding=self.encoding) as file:
                lines = sum(1 for _ in file)
        except UnicodeDecodeError as error:
            raise Permanent(f"not {self.encoding}: {error}") from error
        if lines == 0:
            raise Skipped("the file is empty")
        return {"text/lines": str(lines)}


if __name__ == "__main__":
    serve(LineCounter())
