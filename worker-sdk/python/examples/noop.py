"""Does nothing as often as it can: how much the worker itself takes. Compare raw_ceiling.py."""

from metafleet import AsyncContext, Outcome, Plugin, run


class Noop(Plugin):
    manifest = {
        "id": "noop", "name": "No-op", "version": "1.0.0", "priority": 50, "queue": "fast", "concurrency": 128, "reads": [],
        "dataSchema": {"noop/done": {"label": "Done", "type": "string"}},
    }

    async def process(self, ctx: AsyncContext) -> Outcome:
        return {"noop/done": "1"}


if __name__ == "__main__":
    run(Noop)
