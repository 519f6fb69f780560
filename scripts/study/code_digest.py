"""Name the code that decides what a row of a study says, so that rows of other code are not used."""

import ast
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path


def code_digest(paths: Iterable[Path]) -> str:
    """Return twelve hexadecimal digits of Python files and folders of them.

    Comments and docstrings don't count, nor in which folder of the study a module lies.
    """
    files = {file for path in paths for file in ([path] if path.suffix else path.rglob("*.py"))}
    known = hashlib.sha256()
    for file in sorted(files, key=lambda file: Path(_without_folder(str(file)))):
        known.update(_statements(file.read_text("utf-8")).encode())
    return known.hexdigest()[:12]


def _without_folder(name: str) -> str:
    """Leave the folders below `scripts/study` out of a path, or out of modules' names."""
    return re.sub(r"\b(scripts([./])study\2)(?:\w+\2)+(?=\w)", r"\1", name)


def _statements(source: str) -> str:
    tree = ast.parse(_without_folder(source))
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [one for one in body if not _is_text(one)]  # type: ignore[attr-defined]
    _sort_imports_of_the_study(tree.body)
    return ast.dump(tree)


def _sort_imports_of_the_study(body: list[ast.stmt]) -> None:
    places = [
        n for n, node in enumerate(body) if isinstance(node, ast.ImportFrom) and "scripts.study" in str(node.module)
    ]
    ordered = sorted((body[n] for n in places), key=lambda node: node.module)
    for place, node in zip(places, ordered, strict=True):
        body[place] = node


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
