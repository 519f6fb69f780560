"""Run a real llama.cpp server on this machine's CPU, with a tiny random model, as a target for load tests.

    python scripts/real/llamacpp.py setup
    python scripts/real/llamacpp.py start --slots 1
    python scripts/real/llamacpp.py stop
    python scripts/real/llamacpp.py run --slots 1 -- COMMAND …

The server is built with cmake (5 to 10 minutes on two cores) from the sources in llama-cpp-python's package on PyPI,
under ${XDG_CACHE_HOME:-~/.cache}/probe-ext. PROBE_LLAMA_SERVER selects an existing llama-server, PROBE_MODELS another
folder for models. Exit code 77: not supported on this machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import tiny
import tiny_gguf
from driver import Driver
from server_process import HOST, Server
from setup_steps import (
    FailedError,
    UnsupportedError,
    cache_folder,
    last_line,
    models,
    path_from_environment,
    pip_failure,
    require_disk,
    run_step,
)

VERSION = "0.3.36"
PACKAGE = f"llama-cpp-python=={VERSION} --hash=sha256:832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
BUILD = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "OFF",
    "LLAMA_BUILD_SERVER": "ON",
    "LLAMA_BUILD_TOOLS": "ON",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_OPENSSL": "OFF",
}


def program() -> Path:
    return path_from_environment("PROBE_LLAMA_SERVER", cache_folder() / "llama" / "llama-server")


def model(name: str) -> Path:
    return models() / f"{name}.gguf"


def setup() -> str:
    if not program().exists():
        if "PROBE_LLAMA_SERVER" in os.environ:
            raise FailedError(f"PROBE_LLAMA_SERVER={program()}: no such file")
        build()
    for name, shape in tiny.SHAPES.items():
        if not model(name).exists():
            models().mkdir(parents=True, exist_ok=True)
            tiny_gguf.write(shape, model(name))
    return f"{program()}, models {', '.join(tiny.SHAPES)} in {models()}"


def build() -> None:
    for tool, commands in (("cmake", ("cmake",)), ("a C compiler", ("cc", "gcc", "clang"))):
        if not any(map(shutil.which, commands)):
            raise UnsupportedError(f"building llama-server requires {tool}")
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise UnsupportedError("building llama-server requires a C++ compiler")
    require_disk(cache_folder(), 2)
    folder = program().parent
    log = cache_folder() / "setup-llamacpp.log"
    source = fetch(folder, log)
    settings = [f"-D{name}={value}" for name, value in BUILD.items()]
    build_dir = source / "build"
    try:
        run_step(["cmake", "-S", source, "-B", build_dir, *settings], log, "configuring llama-server")
        jobs = str(os.cpu_count() or 1)
        run_step(
            ["cmake", "--build", build_dir, "--target", "llama-server", "-j", jobs],
            log,
            "building llama-server (takes minutes)",
        )
    except subprocess.CalledProcessError as error:
        raise FailedError(f"cannot build llama-server: {last_line(error.output)}") from None
    unfinished = program().with_suffix(".unfinished")
    shutil.copy2(build_dir / "bin" / "llama-server", unfinished)
    unfinished.replace(program())


def fetch(folder: Path, log: Path) -> Path:
    """Download the package, verify its pinned hash, and unpack llama.cpp's sources from it."""
    source = folder / f"llama_cpp_python-{VERSION}" / "vendor" / "llama.cpp"
    if source.exists():
        return source
    folder.mkdir(parents=True, exist_ok=True)
    requirements = folder / "requirements.txt"
    requirements.write_text(PACKAGE + "\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--no-deps"]
    pip += ["--no-binary", "llama-cpp-python", "--require-hashes", "--dest", str(folder), "-r", str(requirements)]
    try:
        run_step(pip, log, "downloading llama.cpp's sources (77 MB)")
    except subprocess.CalledProcessError as error:
        raise pip_failure("llama-cpp-python's sources", error.output) from None
    with tarfile.open(folder / f"llama_cpp_python-{VERSION}.tar.gz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        unpacked = folder / "unpacking"
        shutil.rmtree(unpacked, ignore_errors=True)
        archive.extractall(unpacked)  # noqa: S202 - the archive has the pinned hash
    (unpacked / f"llama_cpp_python-{VERSION}").rename(source.parent.parent)
    unpacked.rmdir()
    return source


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", choices=sorted(tiny.SHAPES), default="slow")
    parser.add_argument("--slots", type=int, default=1, help="number of replies generated in parallel")
    # Several threads spin-wait for each other at every layer; if another program occupies one of their cores, a token
    # that takes 10 ms then takes a second.
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--context", type=int, default=4096, help="context length of a slot, in tokens")


def start(options: argparse.Namespace, extra: Sequence[str]) -> str:
    if not program().exists() or not model(options.model).exists():
        raise FailedError(f"{program()} or {model(options.model)} is missing; run `llamacpp.py setup`")
    command = [program(), "--model", model(options.model), "--alias", options.model, "--offline"]
    command += ["--host", HOST, "--port", str(options.port), "--metrics", "--slots"]
    command += ["--parallel", str(options.slots), "--ctx-size", str(options.slots * options.context)]
    command += ["--threads", str(options.threads), "--threads-batch", str(options.threads)]
    server = Server("llamacpp", options.port)
    return f"{options.model} at " + server.start([*command, *extra], {}, timeout_s=60)


if __name__ == "__main__":
    sys.exit(Driver("llamacpp", __doc__ or "", 18210, add_options, setup, start).main())
