"""The service's description of itself, as OpenAPI 3.1: programs read it, and the reference is made of it."""

from __future__ import annotations

from typing import Any

from tfvlad.service.search_request import LARGEST_ID
from tfvlad.service.settings import MOST_EXPANDED, MOST_HITS, MOST_VERIFIED, SIDES
from tfvlad.version import __version__

_ERRORS = {
    400: "A field is missing, unknown, or not what it should be.",
    401: "A token is needed, or it is another one.",
    403: "A page of another site asks, whose origin is not allowed.",
    404: "There is no such index, image or address.",
    408: "The request did not arrive in time.",
    410: "The index was replaced by another one since `generation`; search again.",
    413: "The request is too large.",
    415: "The body is neither a form nor JSON.",
    421: "A service without a token, that listens on its own machine only, is asked by another name than localhost.",
    422: "The picture cannot be used: no picture, damaged, too many pixels, or the box is not inside of it.",
    429: "This client has as many requests under way as one may have.",
    503: "The service is busy, or not ready yet; `Retry-After` says when to come again.",
}


def document() -> dict[str, Any]:
    """The whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tfvlad",
            "version": __version__,
            "description": "Finds the photographs that show the same object or place as a picture.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/v1/search": {"post": _search()},
            "/v1/explain": {"get": _explain_indexed(), "post": _explain()},
            "/v1/images/{id}": {"get": _image()},
            "/v1/images/{id}/thumbnail": {"get": _thumbnail()},
            "/v1/indexes": {"get": _indexes()},
            "/healthz": {"get": _status("Whether the service is alive", "alive")},
            "/readyz": {"get": _status("Whether every index can be searched with pictures", "ready", 503)},
            "/metrics": {"get": _metrics()},
        },
        "components": {
            "schemas": {
                "Error": _object({"error": {"type": "string", "description": "One line."}}),
                "Hit": _object(_HIT),
                "Hits": _object(_HITS),
                "Explanation": _object(_EXPLANATION),
                "Indexes": _object({"indexes": _array(_object(_INDEX))}),
            },
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Where the service has a `--token_file`."}
            },
        },
        "security": [{}, {"token": []}],
    }


def _array(items: dict[str, Any], count: int | None = None, **more: Any) -> dict[str, Any]:
    bounds = {} if count is None else {"minItems": count, "maxItems": count}
    return {"type": "array", "items": items, **bounds, **more}


def _object(properties: dict[str, Any], required: tuple[str, ...] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties if required is None else required),
        "additionalProperties": False,
    }


def _nullable(kind: str, description: str, **more: Any) -> dict[str, Any]:
    return {"type": [kind, "null"], "description": description, **more}


_NUMBER = {"type": "number"}
_VERDICTS = ["same", "likely", "unsure", "different"]
_GENERATION = {"type": "string", "description": "Tells the index from one that takes its place; ids belong to it."}
_OUTLINE = {
    "type": ["array", "null"],
    "items": _array(_NUMBER, 2),
    "description": "Corners, as fractions of the picture's width and height; null where nothing agrees.",
}

_HIT: dict[str, Any] = {
    "id": {"type": "integer", "minimum": 1, "description": "Of the file, as long as it is in the index."},
    "path": {"type": "string", "description": "From the name of the indexed folder on."},
    "score": {"type": "number", "description": "The cosine of the descriptors, of the two views that fit best."},
    "inliers": _nullable("integer", "Local features that agree under one transform; null where it is not verified."),
    "verdict": {
        "type": ["string", "null"],
        "enum": [*_VERDICTS, None],
        "description": "Whether it shows the same; null where it is not verified.",
    },
    "probability": _nullable("number", "That it does, 0 to 1."),
    "box": _nullable(
        "array", "Where the query lies in it: x, y, width, height in pixels.", items={"type": "integer"},
        minItems=4, maxItems=4,
    ),
    "view": _nullable("string", "Its view that fits best."),
    "query_view": _nullable("string", "The query's view that fits best."),
}  # fmt: skip

_HITS: dict[str, Any] = {
    "index": {"type": "string", "description": "The index's name."},
    "generation": _GENERATION,
    "answered": _nullable("boolean", "Whether a hit is likely to show the same; null where none is verified."),
    "hits": _array({"$ref": "#/components/schemas/Hit"}, description="Best first."),
}

_EXPLANATION: dict[str, Any] = {
    "index": {"type": "string"},
    "generation": _GENERATION,
    "id": {"type": "integer"},
    "path": {"type": "string"},
    "inliers": {"type": "integer"},
    "verdict": {"type": "string", "enum": _VERDICTS},
    "probability": _NUMBER,
    "cells": _array(
        _array(_array(_NUMBER, 2), 2),
        description="What agrees: positions in the query, or in its box, and in the found picture, as fractions.",
    ),
    "query_outline": {**_OUTLINE, "description": f"The query in the found picture. {_OUTLINE['description']}"},
    "found_outline": {**_OUTLINE, "description": f"The found picture in the query. {_OUTLINE['description']}"},
    "query_size": _array({"type": "integer"}, 2, description="Width and height of the query, or of its box."),
    "found_size": _array({"type": "integer"}, 2, description="Width and height of the found picture."),
    "notes": _array({"type": "string"}, description="The same in words."),
}

_INDEX: dict[str, Any] = {
    "name": {"type": "string"},
    "images": _nullable("integer", "Files in it; null while the index is not there."),
    "generation": _nullable("string", str(_GENERATION["description"])),
    "verifies": _nullable("boolean", "Whether it keeps local features, so that hits are verified."),
    "ready": {"type": "boolean", "description": "Whether pictures can be searched for; indexed ones always can."},
}

_FIELDS: dict[str, Any] = {
    "k": {"type": "integer", "minimum": 1, "maximum": MOST_HITS, "default": 10, "description": "Hits, at most."},
    "verify": {
        "type": "integer",
        "minimum": 0,
        "maximum": MOST_VERIFIED,
        "description": "Images of the shortlist to verify. Default: 50 where the index keeps local features, else 0.",
    },
    "expand": {
        "type": "integer",
        "minimum": 0,
        "maximum": MOST_EXPANDED,
        "default": 0,
        "description": "Search again, together with so many of the images that were found.",
    },
    "quick": {
        "type": "boolean",
        "default": False,
        "description": "Compare descriptors of whole pictures only, without other views and verification.",
    },
}
_WHICH: dict[str, Any] = {
    "index": {"type": "string", "maxLength": 100, "description": "The index's name. Default: the first one."},
    "generation": {"type": "string", "maxLength": 100, "description": "The index that an id belongs to."},
}
_FOUND: dict[str, Any] = {
    "found": {"type": "integer", "minimum": 1, "maximum": LARGEST_ID, "description": "The id of what was found."},
    "view": {"type": "string", "maxLength": 100, "description": "As the hit says."},
    "query_view": {"type": "string", "maxLength": 100, "description": "As the hit says."},
}
_ID = {"type": "integer", "minimum": 1, "maximum": LARGEST_ID, "description": "The id of an indexed image."}
_BOX_TEXT = "The part to search for: x, y, width, height in pixels of the upright picture."


def _body(fields: dict[str, Any], required: tuple[str, ...]) -> dict[str, Any]:
    """A body that has the picture, or the id of one, beside other fields."""
    form = {
        "file": {"type": "string", "contentMediaType": "application/octet-stream", "description": "The picture."},
        **fields,
        "box": {"type": "string", "pattern": r"^\d+(\.\d+)?(,\d+(\.\d+)?){3}$", "description": _BOX_TEXT},
    }
    as_json = {
        "image": {"type": "string", "contentEncoding": "base64", "description": "The picture's bytes in base64."},
        "id": _ID,
        **fields,
        "box": _array({"type": "number", "minimum": 0}, 4, description=_BOX_TEXT),
    }
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _object(form, ("file", *required))},
            "application/json": {
                "schema": {
                    **_object(as_json, required),
                    "oneOf": [{"required": ["image"]}, {"required": ["id"]}],
                },
                "example": {"id": 17, "k": 5},
            },
        },
    }


def _parameters(fields: dict[str, Any], required: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": schema["description"],
            "schema": {key: value for key, value in schema.items() if key != "description"},
        }
        for name, schema in fields.items()
    ]


def _responses(description: str, content: dict[str, Any], *errors: int) -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    told = {str(status): {"description": _ERRORS[status], "content": error} for status in sorted({*errors, 401, 421})}
    for status in ("503", "429"):
        if status in told:
            told[status]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return {"200": {"description": description, "content": content}, **told}


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


_OF_BODIES = (400, 403, 404, 408, 410, 413, 415, 422, 429, 503)


def _search() -> dict[str, Any]:
    return {
        "operationId": "search",
        "summary": "Search with a picture, or with an indexed one",
        "requestBody": _body({**_FIELDS, **_WHICH}, ()),
        "responses": _responses("What was found.", _json("Hits"), *_OF_BODIES),
    }


def _explain() -> dict[str, Any]:
    return {
        "operationId": "explain",
        "summary": "Say why an indexed image is found",
        "description": "With `Accept: image/png`, the answer is drawn.",
        "requestBody": _body({**_FOUND, **_WHICH}, ("found",)),
        "responses": _responses("What agrees.", {**_json("Explanation"), **_PNG}, *_OF_BODIES),
    }


def _explain_indexed() -> dict[str, Any]:
    fields = {"id": _ID, **_FOUND, **_WHICH, "box": {"type": "string", "description": _BOX_TEXT}}
    return {
        "operationId": "explainIndexed",
        "summary": "Say why an indexed image is found with another one",
        "description": "With `Accept: image/png`, the answer is drawn.",
        "parameters": _parameters(fields, ("id", "found")),
        "responses": _responses(
            "What agrees.", {**_json("Explanation"), **_PNG}, 400, 404, 410, 422, 429, 503
        ),
    }  # fmt: skip


_PNG = {"image/png": {"schema": {"type": "string", "contentMediaType": "image/png"}}}
_PATH_ID = {"name": "id", "in": "path", "required": True, "schema": _ID, "description": _ID["description"]}


def _image() -> dict[str, Any]:
    return {
        "operationId": "image",
        "summary": "An indexed image, as it was indexed",
        "parameters": [_PATH_ID, *_parameters(_WHICH, ())],
        "responses": _responses("The file, or a JPEG of it where browsers do not know its format.",
                                {"image/*": {"schema": {"type": "string"}}}, 400, 404, 410, 503),
    }  # fmt: skip


def _thumbnail() -> dict[str, Any]:
    side = {"type": "integer", "enum": list(SIDES), "default": SIDES[1], "description": "Pixels of the longest side."}
    return {
        "operationId": "thumbnail",
        "summary": "A small copy of an indexed image, without any data but its pixels",
        "parameters": [_PATH_ID, *_parameters({"side": side, **_WHICH}, ())],
        "responses": _responses("A JPEG.", {"image/jpeg": {"schema": {"type": "string"}}}, 400, 404, 410, 503),
    }


def _indexes() -> dict[str, Any]:
    return {
        "operationId": "indexes",
        "summary": "The indexes that are served",
        "responses": _responses("The first is the one that is searched by default.", _json("Indexes")),
    }


def _status(summary: str, status: str, *errors: int) -> dict[str, Any]:
    schema = _object({"status": {"type": "string", "enum": [status]}})
    return {
        "operationId": status,
        "summary": summary,
        "security": [],
        "responses": _responses("It is.", {"application/json": {"schema": schema}}, *errors),
    }


def _metrics() -> dict[str, Any]:
    return {
        "operationId": "metrics",
        "summary": "What the service counts, for Prometheus",
        "responses": _responses("Prometheus' text format.", {"text/plain": {"schema": {"type": "string"}}}),
    }
