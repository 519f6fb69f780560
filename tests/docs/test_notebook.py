"""The example notebook runs, is committed executed, and stays small; the API page is that of the sources."""

import json
import re
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import pytest

from scripts.site.api_page import page
from scripts.site.notebook import as_markdown, code_cells
from scripts.site.stage import ROOT

NOTEBOOK = ROOT / "docs" / "notebooks" / "a-run.ipynb"
CONTENT: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def test_cells_run_and_print_what_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(NOTEBOOK.parent)
    names: dict[str, Any] = {}
    printed = StringIO()
    with redirect_stdout(printed):
        for code in code_cells(CONTENT):
            *statements, last = code.split("\n")
            exec("\n".join(statements), names)
            value = eval(last, names) if not last.startswith("print") else exec(last, names)
            assert value is not None or last.startswith("print"), last
    outputs = [output for cell in CONTENT["cells"] for output in cell.get("outputs", ())]
    assert printed.getvalue() == "".join("".join(each["text"]) for each in outputs if each["output_type"] == "stream")


def test_notebook_is_executed_and_small() -> None:
    cells = [cell for cell in CONTENT["cells"] if cell["cell_type"] == "code"]
    numbers = [cell["execution_count"] for cell in cells]
    assert numbers == list(range(1, len(cells) + 1))
    assert all(output["output_type"] != "error" for cell in cells for output in cell["outputs"])
    assert NOTEBOOK.stat().st_size < 100_000
    assert not re.search(r"/(?:home|root|tmp|work)/", NOTEBOOK.read_text(encoding="utf-8"))


def test_notebook_as_a_page() -> None:
    shown = as_markdown(CONTENT)
    assert shown.startswith("# A run in a notebook")
    assert shown.count("```python") == len(code_cells(CONTENT))
    assert shown.count("<iframe") == 2
    for block in re.findall(r'<div class="output".*?</div>', shown, re.DOTALL):
        assert "\n\n" not in block  # would end the HTML block


def test_api_page_is_current() -> None:
    command = "python -m scripts.site.api_page > docs/python-api.md"
    assert (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8") == page().rstrip() + "\n", command
