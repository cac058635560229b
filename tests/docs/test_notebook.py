"""The notebook of the documentation: its cells run, each gives what a notebook can show, and it is stored with that."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from helpers.documentation import ROOT

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def cells() -> list[dict[str, Any]]:
    told: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in told["cells"] if cell["cell_type"] == "code"]


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Runs a cell as a notebook does, and returns the value of its last line, if that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, NOTEBOOK.name, "exec"), names)
    return (
        eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names) if isinstance(last, ast.Expr) else None
    )


def test_the_cells_run_and_show_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    shown = [run_cell("".join(cell["source"]), names) for cell in cells()]
    encoder, index, hits, explanation = [value for value in shown if value is not None]
    assert encoder.fingerprint[:12] in encoder._repr_html_()
    assert hits._repr_html_().count("data:image/jpeg") == len(hits) == 4
    assert "local features agree" in hits._repr_html_()
    assert explanation._repr_jpeg_().startswith(b"\xff\xd8\xff")
    assert len(repr(explanation)) < 300
    assert "closed" in index._repr_html_()
    with type(index).open(names["path"]) as opened:
        assert opened._repr_html_().count("data:image/jpeg") == 6
        (names["drawn"].covers / "000.jpg").unlink()
        assert "No such file" in opened._repr_html_()
    assert "photographs find their cover first" in capsys.readouterr().out


def test_it_is_stored_with_what_the_cells_gave() -> None:
    stored = cells()
    assert [cell["execution_count"] for cell in stored] == list(range(1, len(stored) + 1))
    kinds = {kind for cell in stored for output in cell["outputs"] for kind in output.get("data", {})}
    assert {"text/html", "image/jpeg"} <= kinds
    assert not [output for cell in stored for output in cell["outputs"] if output["output_type"] == "error"]
    assert NOTEBOOK.stat().st_size < 500_000
