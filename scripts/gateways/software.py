"""The proxies and gateways: which are installed, their versions, and the Python ones in environments of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

LITELLM, GUIDELLM = "litellm[proxy]", "guidellm==0.8.1"
GUIDELLM_REQUIREMENTS = (
    *("click", "pydantic", "pydantic-settings", "loguru", "pyyaml", "rich", "sanic", "uvloop", "httpx[http2]"),
    *("numpy", "culsans", "ftfy", "transformers", "datasets", "tabulate", "more-itertools", "msgpack", "faker"),
    *("eval_type_backport", "protobuf", "typer"),
)
"""all that its mock server needs: without torch, of which PyPI's build is for CUDA and takes gigabytes"""
_VERSION_ARGUMENTS = {"nginx": "-v", "haproxy": "-v", "caddy": "version"}
_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)*")


class MissingError(Exception):
    """Something is not installed; the message says how to get it."""


def environments() -> Path:
    """Return the folder of the environments, outside the project."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "probe-ext" / "gateways"


def proxy_version(name: str) -> str:
    """Return the version of nginx, haproxy or caddy. MissingError if it is not installed."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise MissingError(f"{name} is not installed; on Debian and Ubuntu: sudo apt-get install {name}")
    said = subprocess.run([path, _VERSION_ARGUMENTS[name]], capture_output=True, text=True, check=False)
    found = _VERSION.search(said.stdout + said.stderr)
    return found[0] if found else "of unknown version"


def proxy_path(name: str) -> str:
    """Return the path of an installed proxy."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin") or name


def python_package(name: str) -> tuple[Path, str]:
    """Return the `bin` folder of the environment of litellm or guidellm, made if necessary, and its version.

    MissingError if pip cannot install it.
    """
    folder = environments() / name
    tools = folder / "bin"
    if not (tools / name).exists():
        print(f"installing {name} into {folder}", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True, clear=True)
        if name == "litellm":
            _pip(tools, LITELLM)
        else:
            _pip(tools, "--no-deps", GUIDELLM)
            _pip(tools, *GUIDELLM_REQUIREMENTS)
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    said = subprocess.run([tools / "python", "-c", code], capture_output=True, text=True, check=False)
    return tools, said.stdout.strip() or "of unknown version"


def _pip(tools: Path, *what: str) -> None:
    command = [str(tools / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(tools.parent, ignore_errors=True)
        lines = done.stderr.strip().splitlines() or ["no output"]
        raise MissingError(f"pip could not install {what[-1]}: {lines[-1][:200]}")
