"""A process of the stress test: searches an index until a moment, and prints what it found."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crash.stress import search
from helpers.fake_encoder import FakeEncoder

from tfvlad.index.index import Index

encoder: Any = FakeEncoder()
with Index.open(sys.argv[1], encoder) as index:
    json.dump(search(index, float(sys.argv[2]), int(sys.argv[3])), sys.stdout)
