"""Values kept as JSON files, each whole or not at all."""

from __future__ import annotations

import json
import math
from typing import Any

from tfvlad.storage.atomic import atomic_file


def read_json(path: str) -> Any:
    """What `write_json` wrote; None where nothing is, or nothing that can be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (FileNotFoundError, ValueError):
        return None


def write_json(path: str, value: Any) -> None:
    """Writes a value without NaN, whole or not at all."""
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file, allow_nan=False)


def or_null(value: float) -> float | None:
    """A number as JSON has it: no NaN."""
    return None if math.isnan(value) else float(value)
