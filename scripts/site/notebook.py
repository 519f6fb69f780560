"""Notebooks: as a Markdown page, and executed."""

from typing import Any

Notebook = dict[str, Any]


def as_markdown(notebook: Notebook) -> str:
    """Return the cells of an executed notebook as a page: text, code, and the richest output that a page can show."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"]).rstrip()
        if cell["cell_type"] == "markdown":
            parts.append(source)
        else:
            parts.append(f"```python\n{source}\n```")
            parts += [shown for output in cell["outputs"] if (shown := _shown(output))]
    return "\n\n".join(parts) + "\n"


def code_cells(notebook: Notebook) -> list[str]:
    """Return the source of each code cell."""
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def _shown(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "text/html" in data:  # on one line per element: a blank line would end the HTML block
        lines = [line for line in "".join(data["text/html"]).splitlines() if line.strip()]
        return '<div class="output" style="overflow-x:auto">\n' + "\n".join(line.strip() for line in lines) + "\n</div>"
    text = "".join(output.get("text") or data.get("text/plain") or "").rstrip()
    return f"```text\n{text}\n```" if text else ""
