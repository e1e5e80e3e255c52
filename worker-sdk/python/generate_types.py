#!/usr/bin/env python3
"""Writes src/metafleet/wire/ from broker-config/schema: `python3 generate_types.py` in this folder.

The types say what is on the wire, and only that: a field that may be left out is `total=False`, and what the
schemas call null or absent is absent here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SCHEMAS = HERE.parents[1] / "broker-config" / "schema"
TARGET = HERE / "src" / "metafleet" / "wire"
# Messages by the module that defines them.
MODULES = {
    "plugins": ("manifest", "announce", "announce-reply", "instance", "control", "control-reply"),
    "tasks": ("task", "record", "signal", "submission"),
}
PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
HEAD = '''"""Messages of the protocol, made by generate_types.py from broker-config/schema; do not edit."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Union

'''

Schema = dict[str, Any]


class Module:
    """The definitions so far, each by its name."""

    def __init__(self) -> None:
        self.classes: dict[str, str] = {}
        self.aliases: dict[str, str] = {}

    def message(self, schema: Schema) -> None:
        """Takes a schema with all that it defines."""
        for name, definition in schema.get("$defs", {}).items():
            self.define(name, definition)
        self.define(schema["title"], schema)

    def define(self, name: str, schema: Schema) -> None:
        if name in self.classes or name in self.aliases:
            return
        if "oneOf" in schema and any("properties" in variant for variant in schema["oneOf"]):
            self.variants(name, schema)
        elif "properties" in schema:
            self.classes[name] = typed_dict(name, schema)
        else:
            self.aliases[name] = f"{name} = {expression(schema, quoted=False)}"

    def variants(self, name: str, schema: Schema) -> None:
        """One class for each shape; they are told apart by the one field that is a constant."""
        names = []
        for variant in schema["oneOf"]:
            merged = {
                **variant,
                "properties": {**schema.get("properties", {}), **variant["properties"]},
                "required": [*schema.get("required", []), *variant.get("required", [])],
            }
            constants = (field["const"] for field in variant["properties"].values() if "const" in field)
            names.append(name + next(constants).capitalize())
            self.classes[names[-1]] = typed_dict(names[-1], merged)
        members = ", ".join(f'"{member}"' for member in names)
        self.aliases[name] = f"{name} = Union[{members}]"

    def text(self) -> str:
        aliases = "\n".join(self.aliases.values())
        return HEAD + aliases + "\n\n\n" + "\n\n".join(self.classes.values())


def typed_dict(name: str, schema: Schema) -> str:
    required = schema.get("required", [])
    fields = schema["properties"]
    lines = []
    must = [(field, fields[field]) for field in fields if field in required]
    may = [(field, fields[field]) for field in fields if field not in required]
    base = "TypedDict"
    if must and may:
        base = f"_{name}"
        lines += [f"class {base}(TypedDict):", *members(must), "", ""]
    total = ", total=False" if may else ""
    lines += [f"class {name}({base}{total}):", f'    """{sentence(schema)}"""', "", *members(may or must)]
    return "\n".join(lines) + "\n"


def members(fields: list[tuple[str, Schema]]) -> list[str]:
    return [f"    {name}: {expression(schema, quoted=True)}" for name, schema in fields]


def sentence(schema: Schema) -> str:
    """The first line of a description, without the marks of Rust's documentation."""
    line = str(schema.get("description", "")).split("\n")[0].strip()
    return line.replace("[`", "`").replace("`]", "`").rstrip(".;:, ") + "."


def expression(schema: Schema, *, quoted: bool) -> str:
    """The type of one field. Aliases are evaluated when the module is read, so they quote what they name."""
    if "$ref" in schema:
        name: str = schema["$ref"].rsplit("/", 1)[-1]
        return name if quoted else f'"{name}"'
    if "const" in schema:
        return f"Literal[{json.dumps(schema['const'])}]"
    choices = schema.get("oneOf") or schema.get("anyOf")
    if choices:
        return choice([one for one in choices if one.get("type") != "null"], quoted=quoted)
    kind = schema.get("type")
    if isinstance(kind, list):
        [kind] = [one for one in kind if one != "null"]
    if kind == "array":
        return f"list[{expression(schema['items'], quoted=quoted)}]"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"dict[str, {expression(values, quoted=quoted) if isinstance(values, dict) else 'Any'}]"
    return PLAIN.get(str(kind), "Any")


def choice(choices: list[Schema], *, quoted: bool) -> str:
    if all("const" in one for one in choices):
        return f"Literal[{', '.join(json.dumps(one['const']) for one in choices)}]"
    types: list[str] = [expression(one, quoted=quoted) for one in choices]
    if "Any" in types:
        return "Any"
    return types[0] if len(types) == 1 else f"Union[{', '.join(types)}]"


def generate() -> dict[str, str]:
    """The text of each file."""
    files: dict[str, str] = {}
    imports: list[str] = []
    names: list[str] = []
    for name, messages in MODULES.items():
        module = Module()
        for message in messages:
            module.message(json.loads((SCHEMAS / f"{message}.schema.json").read_text(encoding="utf-8")))
        files[f"{name}.py"] = module.text()
        new = sorted({*module.classes, *module.aliases} - set(names))
        imports.append(f"from .{name} import (\n" + "".join(f"    {one},\n" for one in new) + ")")
        names += new
    listed = "".join(f'    "{name}",\n' for name in sorted(names))
    head = HEAD.split("\n", 1)[0] + "\n\n"
    files["__init__.py"] = head + "\n".join(imports) + f"\n\n__all__ = [\n{listed}]\n"
    return files


if __name__ == "__main__":
    TARGET.mkdir(exist_ok=True)
    for file, text in generate().items():
        (TARGET / file).write_text(text, encoding="utf-8")
