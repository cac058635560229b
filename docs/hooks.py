"""What the site adds to its pages, in place of comments.

`<!-- help: COMMAND -->` becomes a command's help, made from its flags, and `<!-- openapi -->` the service's reference.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for every page before it is rendered."""
    markdown = re.sub(r"<!-- help: (\w+) -->", lambda found: help_block(found[1]), markdown)
    return re.sub(r"<!-- openapi -->", lambda _: service_reference(), markdown)


def help_block(command: str) -> str:
    """What `tfvlad COMMAND --help` prints, as a block of Markdown.

    Raises:
      ValueError: there is no such command.
    """
    from tfvlad.commands._main import run

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = run([command, "--help"])
    if status != 0:
        raise ValueError(f"docs: no help for the command {command!r}")
    return f"```text\n{printed.getvalue().rstrip()}\n```"


def service_reference() -> str:
    """Every address of the service with its fields and answers, and what the answers hold, as Markdown."""
    from tfvlad.service.openapi import document

    described = document()
    lines = [line for path, methods in described["paths"].items() for line in _address(path, methods)]
    lines += ["## What answers hold", ""]
    for name, schema in described["components"]["schemas"].items():
        lines += [f"### {name}", "", *_table(schema["properties"], schema["required"]), ""]
    return "\n".join(lines)


def _address(path: str, methods: Mapping[str, Any]) -> Iterator[str]:
    for method, operation in methods.items():
        yield f"## {method.upper()} {path}"
        yield ""
        yield f"{operation['summary']}. {operation.get('description', '')}".rstrip()
        yield ""
        if parameters := operation.get("parameters"):
            fields = {one["name"]: {**one["schema"], "description": one["description"]} for one in parameters}
            yield from _table(fields, [one["name"] for one in parameters if one["required"]])
            yield ""
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            schema = content["schema"]
            yield f"As `{kind}`:"
            yield ""
            yield from _table(schema["properties"], schema["required"])
            yield ""
            if "oneOf" in schema:
                yield "Either " + " or ".join(f"`{one['required'][0]}`" for one in schema["oneOf"]) + " is needed."
                yield ""
            if "example" in content:
                yield f"```json\n{json.dumps(content['example'])}\n```"
                yield ""
        yield from ("| status | answer |", "| --- | --- |")
        for status, response in operation["responses"].items():
            kinds = ", ".join(f"`{kind}`" + _named(content["schema"]) for kind, content in response["content"].items())
            yield f"| {status} | {response['description']} {kinds if status == '200' else ''} |"
        yield ""


def _named(schema: Mapping[str, Any]) -> str:
    name = schema.get("$ref", "").rpartition("/")[2]
    return f" ([{name}](#{name.lower()}))" if name else ""


def _table(fields: Mapping[str, Mapping[str, Any]], required: list[str]) -> Iterator[str]:
    yield from ("| field | | |", "| --- | --- | --- |")
    for name, schema in fields.items():
        needed = "needed. " if name in required and len(required) < len(fields) else ""
        description = schema.get("description") or schema.get("items", {}).get("description", "")
        yield f"| `{name}` | {_kind(schema)} | {needed}{description} |"


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _named(schema).strip(" ()") or "object"
    if "enum" in schema:
        return ", ".join("null" if value is None else f"`{value}`" for value in schema["enum"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    text = " or ".join(kinds)
    if "items" in schema:
        text = text.replace("array", f"array of {_kind(schema['items'])}")
    if "minimum" in schema and "maximum" in schema and schema["maximum"] < 2**62:
        text += f", {schema['minimum']} to {schema['maximum']}"
    if "default" in schema:
        text += f", {json.dumps(schema['default'])} by default"
    return text
