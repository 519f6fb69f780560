"""``python -m scripts.site.api_page > docs/python-api.md``: the Python API, from the signatures and docstrings.

The sources are parsed and not imported: importing them would patch the process. A test compares the committed page.
"""

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "probe_ext"
HEAD = """# Python API

What can Python code import from `probe_ext`, and what does each name do?

Every name is typed (`py.typed`), and `import probe_ext` itself loads nothing heavy: what a name needs is loaded when it
is first used. [Notebooks](notebooks.md) and [Locustfiles](locustfiles.md) show how these are used. This page is made
from the docstrings by `scripts/site/api_page.py`.
"""
SECTIONS: dict[str, list[tuple[str, str]]] = {
    "Runs in Python": [
        ("load_run", "report/analysis/loaded_run.py"),
        ("LoadedRun", "report/analysis/loaded_run.py"),
        ("Figure", "report/analysis/figure.py"),
    ],
    "Locustfiles": [
        ("StreamingUser", "swarm/users/user.py"),
        ("WorkloadUser", "swarm/users/workload_user.py"),
        ("Llm", "swarm/users/llm.py"),
        ("Prompts", "access/prompt_source.py"),
        ("Prompt", "prompts/prompt.py"),
        ("Reply", "client/reply.py"),
    ],
}
EVENTS, CONSTANTS = "swarm/users/events.py", "measure/table_rows.py"
CALLED_BY_LOCUST = {"options_of", "on_start", "on_stop", "wait_time", "close"}


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for title, members in SECTIONS.items():
        parts.append(f"## {title}\n")
        for name, path in members:
            parts += _entry(name, ast.parse((PACKAGE / path).read_text(encoding="utf-8")))
    parts += ["### events\n", *_events(), "### COLD, WARM, WARM_UP\n", *_constants()]
    return "\n".join(parts)


def _entry(name: str, module: ast.Module) -> Iterator[str]:
    node = next(node for node in module.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name)
    yield f"### {name}\n"
    if isinstance(node, ast.FunctionDef):
        yield from _function(node, name)
        return
    yield f"{_doc(node)}\n"
    rows = [*_fields(node), *_properties(node)]
    if rows:
        yield "| attribute | type | meaning |\n|---|---|---|"
        yield from (f"| `{attribute}` | `{kind}` | {meaning} |" for attribute, kind, meaning in rows)
        yield ""
    for member in _public_functions(node):
        if not _is_property(member) and member.name not in CALLED_BY_LOCUST:
            yield f"#### {name}.{member.name}\n"
            yield from _function(member, member.name)


def _function(node: ast.FunctionDef, name: str) -> Iterator[str]:
    arguments = ast.unparse(node.args)
    arguments = re.sub(r"^self(, )?", "", arguments)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    arguments = re.sub(r"(?<=[\w\]])=(?=\S)", " = ", arguments)
    signature = textwrap.fill(f"{name}({arguments}){returns}", 100, subsequent_indent="    ", break_long_words=False)
    yield f"```text\n{signature}\n```\n"
    yield f"{_doc(node)}\n"


def _public_functions(node: ast.ClassDef) -> list[ast.FunctionDef]:
    found = [member for member in node.body if isinstance(member, ast.FunctionDef)]
    return [member for member in found if not member.name.startswith("_") and ast.get_docstring(member)]


def _is_property(node: ast.FunctionDef) -> bool:
    return any(ast.unparse(each) in {"property", "cached_property"} for each in node.decorator_list)


def _properties(node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    for member in _public_functions(node):
        if _is_property(member) and member.returns:
            yield member.name, _cell(ast.unparse(member.returns)), _cell(_doc(member))


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    """Yield the annotated public attributes of a class that have a docstring below."""
    for index, member in enumerate(node.body):
        if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
            name, meaning = member.target.id, _below(node.body, index)
            if meaning and not name.startswith("_"):
                yield name, _cell(ast.unparse(member.annotation)), _cell(meaning)


def _below(body: Sequence[ast.stmt], index: int) -> str:
    following = body[index + 1] if index + 1 < len(body) else None
    if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
        return str(following.value.value)
    return ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _doc(node: ast.FunctionDef | ast.ClassDef) -> str:
    return ast.get_docstring(node) or ""


def _events() -> Iterator[str]:
    """Yield the docstring of the events, in which an example is indented."""
    module = ast.parse((PACKAGE / EVENTS).read_text(encoding="utf-8"))
    for block in re.split(r"\n{2,}(?=\S)", ast.get_docstring(module) or ""):
        head, _, rest = block.partition("\n\n    ")
        yield f"{head}\n"
        if rest:
            yield f"```text\n{textwrap.dedent('    ' + rest).rstrip()}\n```\n"
    yield "| event | listeners get |\n|---|---|"
    for index, node in enumerate(module.body):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and _below(module.body, index):
            yield f"| `{node.targets[0].id}` | {_cell(_below(module.body, index))} |"
    yield ""


def _constants() -> Iterator[str]:
    """Yield the names with a meaning for `scenario`."""
    yield "Values of `scenario` that have a meaning.\n\n| name | meaning |\n|---|---|"
    module = ast.parse((PACKAGE / CONSTANTS).read_text(encoding="utf-8"))
    for index, node in enumerate(module.body):
        names = (
            re.findall(r"\b(?:COLD|WARM|WARM_UP)\b", ast.unparse(node.targets[0]))
            if isinstance(node, ast.Assign)
            else []
        )
        if names:
            yield f"| {', '.join(f'`{name}`' for name in names)} | {_cell(_below(module.body, index))} |"
    yield ""


if __name__ == "__main__":
    print(page().rstrip())
