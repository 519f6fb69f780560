"""The commands of the documentation, of `--help` and of the scenarios, as a reader pastes them into a shell."""

import ast
import re
import shlex
from pathlib import Path

BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
SHELL = {"", "sh", "bash", "console"}
"""languages of blocks of commands; whatever is no command has another one, such as `text`"""
CODE = re.compile(r"`((?:probe|locust) [^`\n]+)`")
MENTION = re.compile(r"probe [\w-]+( [a-z_]+)?( --[\w-]+)*$")
"""names a command, and perhaps options without their values: nothing to paste"""
PLACEHOLDER = re.compile(r"\b(?:DIR|FILE|RUN|NAME|URL|CMD|PORT|IMAGE|BEFORE|AFTER|RECORDING)\b|…|\[|\.\.\.")
EXAMPLE = re.compile(r"^ *((?:probe|locust) .+?)(?: {3,}.*)?$", re.MULTILINE)
"""a line of a docstring with a command and perhaps what it is for"""
ASSIGNMENT = re.compile(r"[A-Z_]+=")
OPERATORS = {"||", "&&", "|", ";"}


def commands_in(page: Path) -> list[str]:
    """Return all commands of a page in order, each once: every line of its shell blocks, and complete ones in the text.

    A comment and what follows a shell operator are left out; variables stay.
    """
    text = page.read_text(encoding="utf-8")
    found = [
        _command(line)
        for language, block in BLOCK.findall(text)
        if language in SHELL
        for line in block.replace("\\\n", " ").splitlines()
    ]
    found += [
        _command(code)
        for code in CODE.findall(BLOCK.sub("", text))
        if not MENTION.match(code) and not PLACEHOLDER.search(code) and ("://" in code or code.startswith("locust"))
    ]
    return list(dict.fromkeys(line for line in found if line))


def examples_in(source: Path) -> list[str]:
    """Return the example commands in the texts of a module: its docstring, which `--help` shows, and constants."""
    texts = [
        node.value.value
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Expr | ast.Assign) and isinstance(node.value, ast.Constant)
        if isinstance(node.value.value, str)
    ]
    lines = [line for text in texts for line in EXAMPLE.findall(text) if not PLACEHOLDER.search(line)]
    return list(dict.fromkeys(_command(line) for line in lines))


def _command(line: str) -> str:
    words = shlex.split(line, comments=True)
    end = next((index for index, word in enumerate(words) if word in OPERATORS), len(words))
    return " ".join(word if ASSIGNMENT.match(word) else shlex.quote(word) for word in words[:end])
