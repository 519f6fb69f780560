"""Every command in the documentation is one that its program accepts."""

import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache

import pytest

from tests.test_docs import PAGES, ROOT

BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INCOMPLETE = ("are required", "expected one argument", "is missing; see")
"""what a command in running text may lack: `probe report` names the command"""
CODE = re.compile(r"`((?:probe|locust) [^`\n]+)`")
PROGRAM = re.compile(r"(?:\S*/)?(probe|locust)$")
ENDS = {"||", "&&", "|", ";", "&", "(", ")", "{", "}"}
EXAMPLE_FILES = {".py": "locustfiles/chat.py", ".yaml": "configs/workloads/chat.yaml"}
WRONG = ("probe run capacity --levls 1", "locust --hedless", "probe sym", "probe report", "probe run nothing")
RIGHT = ("probe run capacity --levels 1", "probe compare a b")
SHELL = {"", "sh", "bash", "console", "ini"}
PLACEHOLDER = re.compile(r"\b(?:DIR|FILE|RUN|NAME|URL|CMD|PORT|IMAGE|BEFORE|AFTER|RECORDING)\b|…|\[|\.\.\.")


def commands_of(page: str) -> list[tuple[bool, list[str]]]:
    """Return the command lines of `probe` and `locust` in a page: whether each is in a block, and its words."""
    found: list[tuple[bool, list[str]]] = []
    for language, block in BLOCK.findall(page):
        for line in block.replace("\\\n", " ").splitlines() if language in SHELL else ():
            found += [(True, words) for words in command_in(line)]
    for code in CODE.findall(BLOCK.sub("", page)):
        if not PLACEHOLDER.search(code):
            found += [(False, words) for words in command_in(code)]
    return found


def command_in(line: str) -> list[list[str]]:
    """Return the command of a line, if it has one, without variables, comment and what follows it in the shell."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # the output of a command, with a quote
        return []
    while words and re.match(r"[A-Z_]+=|ExecStart", words[0]):
        first = words.pop(0)
        if first.startswith("ExecStart"):
            words.insert(0, first.partition("=")[2])
    end = next((index for index, word in enumerate(words) if word in ENDS), len(words))
    program = PROGRAM.match(words[0]) if words else None
    return [[program[1], *words[1:end]]] if program and end > 1 else []


@cache
def all_commands() -> list[tuple[str, bool, list[str]]]:
    return [(page.name, *found) for page in PAGES for found in commands_of(page.read_text(encoding="utf-8"))]


def test_commands_are_found() -> None:
    page = (
        "```\nA=1 .venv/bin/probe run x \\\n  --search   # why\nprobe: 3 of 8\n```\n"
        "```text\nprobe list\n```\n"
        "Use `probe sim --port 1` or `probe report DIR`.\n```sh\nprobe warmup URL || exit 1\n```\n"
    )
    assert commands_of(page) == [
        (True, ["probe", "run", "x", "--search"]),
        (True, ["probe", "warmup", "URL"]),
        (False, ["probe", "sim", "--port", "1"]),
    ]
    assert len(all_commands()) > 60


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What is wrong with each command by the parser of its program; the files that a reader is to write are there."""
    folder = tmp_path_factory.mktemp("commands")
    for _, _, line in all_commands():
        for word in line[1:]:
            path = folder / word.rpartition("=")[2]
            if path.suffix in EXAMPLE_FILES and "://" not in word:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text((ROOT / EXAMPLE_FILES[path.suffix]).read_text(encoding="utf-8"))
    asked = subprocess.run(
        [sys.executable, "-m", "tests.docs.parse_commands"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        input=json.dumps([*(line for _, _, line in all_commands()), *map(str.split, (*WRONG, *RIGHT))]),
    )
    assert asked.returncode == 0, asked.stderr
    return list(json.loads(asked.stdout))


def test_commands_are_accepted(answers: list[str]) -> None:
    wrong = [
        f"{page}: {shlex.join(line)}: {why}"
        for (page, in_block, line), why in zip(all_commands(), answers, strict=False)
        if why and (in_block or not any(words in why for words in INCOMPLETE))
    ]
    assert not wrong, "\n".join(wrong)


def test_wrong_commands_are_found(answers: list[str]) -> None:
    planted = answers[len(all_commands()) :]
    assert [bool(why) for why in planted] == [True] * len(WRONG) + [False] * len(RIGHT)


def test_python_modules_and_scripts_in_commands_exist() -> None:
    """Of `python -m scripts.site.api_page` and `python scripts/demo.py`, in any page."""
    named = {
        words for page in PAGES for words in re.findall(r"python3? (-m [\w.]+|[\w./]+\.py)", page.read_text("utf-8"))
    }
    assert len(named) > 5
    places = {name: name.removeprefix("-m ").replace(".", "/") if "-m" in name else name[:-3] for name in named}
    missing = {
        name for name, place in places.items()
        if not ((ROOT / f"{place}.py").exists() or (ROOT / place / "__main__.py").exists())
    }  # fmt: skip
    assert missing <= {"-m pip", "-m pytest", "-m venv"}
