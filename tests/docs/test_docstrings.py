"""What docstrings and pages refer to exists."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.documentation import REFERENCE, ROOT, exists, modules, pages

FILES = [*modules().values(), *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "benchmarks").glob("*.py"))]


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Yields every docstring of a file and the line of what it describes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def test_dotted_references_in_docstrings_exist() -> None:
    missing = [
        f"{path.relative_to(ROOT)}:{line}: {reference}"
        for path in FILES
        for line, text in docstrings(path)
        for reference in REFERENCE.findall(text)
        if not exists(reference)
    ]
    assert missing == []


@pytest.mark.parametrize("page", [page for page in pages() if page.exists()], ids=lambda page: page.name)
def test_dotted_references_in_pages_exist(page: Path) -> None:
    assert [name for name in REFERENCE.findall(page.read_text(encoding="utf-8")) if not exists(name)] == []


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("tfvlad.index", True),
        ("tfvlad.Encoder.encode", True),
        ("tfvlad.EncoderConfig.backbone", True),
        ("tfvlad.evaluation.metrics.Evaluation.map", True),
        ("tfvlad.Encoder.decode", False),
        ("tfvlad.indices", False),
        ("tfvlad.evaluation.metric.evaluate", False),
    ],
)
def test_the_check_itself(reference: str, expected: bool) -> None:
    assert exists(reference) == expected
