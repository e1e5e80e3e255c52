"""What schemathesis changes of the requests that it makes up, so that they reach the fleet's plugin and end in time.

Nothing here changes what is expected of an answer.
"""

from __future__ import annotations

import schemathesis

# The plugin of the fleet, and its one instance.
PLUGIN = "probe"
INSTANCE = f"plugin-{PLUGIN}-1"


def _is_odd(text: object) -> bool:
    """Whether a made-up name is worth sending as it is: most that are made up are one short word like another."""
    return not isinstance(text, str) or len(text) > 8 or not text.isascii()


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Made-up ids are unknown: without this hardly a request would get past the 404."""
    if isinstance(path_parameters, dict):
        for name, known in (("id", PLUGIN), ("instance", INSTANCE)):
            if name in path_parameters and not _is_odd(path_parameters[name]):
                path_parameters[name] = known
    return path_parameters


@schemathesis.hook
def map_query(context, query):
    """A log that is followed has no end; the tests of the API follow logs."""
    if isinstance(query, dict) and str(query.get("follow")).lower() in ("true", "1", ""):
        query["follow"] = "false"
    return query


@schemathesis.hook
def map_body(context, body):
    """A valid number of instances becomes a small one: a thousand processes would say nothing of the API."""
    wanted = body.get("instances") if isinstance(body, dict) else None
    if type(wanted) in (int, float) and 1 <= wanted <= 1000 and wanted == int(wanted):
        body["instances"] = type(wanted)(1 + int(wanted) % 2)
    return body
