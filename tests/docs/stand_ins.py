"""What stands in for what the documented commands name, and which commands are not run, and why.

- every URL, also of a workload: a simulated server, the same one for the same URL; with `https`, behind a proxy that
  speaks TLS
- the master's address: this machine
- files and folders: those that `prepare` writes
- long times and many users: the options in SHORTER, appended, because the last one given counts
"""

import json
import re
import shutil
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

NOT_RUN = {
    "make *": "the targets have their own tests; `make demo` runs in tests/e2e/test_demo.py",
    "*docker *": "needs Docker; `make test-compose` runs docker-compose.yml",
    "mkdir -p reports/runs": "prepares a command for Docker",
    "*pip install *": "needs a package index; `make release-check` installs the packages",
    "OTEL_* probe run *": "needs locust[otel] and a collector",
    "*--prometheus *": "needs a Prometheus; tests/e2e/servers/test_prometheus.py runs both commands where there is one",
    "systemctl *": "needs root and a vLLM service",
    "nginx *": "needs root and an nginx",
    "python -m scripts.swarm.soak *": "takes 17 minutes; `make soak` runs it",
    "probe calibrate": "takes 5 minutes; tests/swarm/commands/test_calibrate.py runs it, shortened",
}
"""pattern of a whole command: why it is not run"""

_MEASURE = "--hold 1s --settle 0s --min-replies 1 --warm-up 2 --drain 5s"
_SHORT_TEXTS = "--input-tokens 40 --max-tokens 16"
_FEW_SECONDS = "--search-time 4s --max-users 2"
SHORTER = [
    ("run monday.jsonl", "--settle 0s --warm-up 2 --drain 5s"),
    ("run gauntlet", f"{_MEASURE} --rate 2"),
    ("-f locustfiles/gauntlet.py", f"{_MEASURE} --rate 2"),
    ("run memory_wall", f"{_MEASURE} --levels 1,2"),
    ("run cold_user", f"{_MEASURE} --levels 1,2"),
    ("run workload", f"{_MEASURE} --levels 1"),
    ("run baseline", _SHORT_TEXTS),
    ("baseline.py", _SHORT_TEXTS),
    ("run contest.yaml", f"{_MEASURE} --rate 2"),
    ("run --workload --search", f"{_MEASURE} {_FEW_SECONDS}"),
    ("run --workload", f"{_MEASURE} --levels 1"),
    ("run --search", f"{_MEASURE} {_SHORT_TEXTS} {_FEW_SECONDS}"),
    ("run --rate", f"{_MEASURE} {_SHORT_TEXTS} --rate 2"),
    ("run", f"{_MEASURE} {_SHORT_TEXTS} --levels 1,2"),
    ("compare http", f"{_MEASURE} {_SHORT_TEXTS} --levels 1"),
    ("warmup", f"{_SHORT_TEXTS} --users 2 --wait 5s --within 30s"),
    ("doctor", "--input-tokens 40 --max-tokens 32 --levels 1,2"),
]
"""words that a command contains (`http`: any URL), and what shortens it; the first that fits counts"""

_URL = re.compile(r"(https?)://[\w.-]+(?::\d+)?(?:/\w+)?")
_YAML = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_EXAMPLE_RUN = ROOT / "reports" / "examples" / "vllm"
_TRACE = [
    {"timestamp": 1000 * i, "input_length": 40 + i, "output_length": 12, "hash_ids": [1 + i % 2]} for i in range(12)
]


def why_not_run(line: str) -> str:
    """Return why a command is not run; empty if it is."""
    return next((why for pattern, why in NOT_RUN.items() if fnmatch(line, pattern)), "")


def urls_of(word: str) -> list[tuple[str, str]]:
    """Return the URLs in a word, each with its scheme."""
    return [(match[0], match[1]) for match in _URL.finditer(word)]


def shorter(words: list[str]) -> list[str]:
    """Return the options that shorten a command."""
    named = {*words, *("http" for word in words if "://" in word)}
    return next((options.split() for wanted, options in SHORTER if named.issuperset(wanted.split())), [])


def exit_codes(words: list[str]) -> set[int]:
    """Return the exit codes that the documentation names for a command."""
    if words[1] == "doctor":
        return {0, 1}  # docs/doctor.md: 1 if there is something to fix, as on a machine that is busy
    if "--fail-under-users" in words:
        return {0, 1}  # docs/ci.md: 1 if the gate fails, as it does where a second proves too little
    return {0}


def prepare(folder: Path, words: list[str]) -> None:
    """Write the files and folders that a command reads and that no command before it has written."""
    for word in words[2:]:
        for name in word.rpartition("=")[2].split(","):
            path = folder / name
            if path.exists() or "://" in name:
                continue
            if name.startswith("reports/recordings/"):
                max(path.parent.iterdir()).rename(path)  # that of the page's `probe tap --upstream`
            elif name.startswith(("runs/", "reports/runs/")) and words[1] != "run":
                shutil.copytree(_EXAMPLE_RUN, path)
            elif name in FILES:
                path.write_text(FILES[name](), encoding="utf-8")
                path.chmod(0o755)
    if any(word.startswith("locustfiles/") for word in words) and not (folder / "locustfiles").exists():
        shutil.copytree(ROOT / "locustfiles", folder / "locustfiles")


def _block(page: str, pattern: re.Pattern[str]) -> str:
    return pattern.findall((ROOT / page).read_text(encoding="utf-8"))[0]


FILES = {
    "machines.yaml": lambda: _block("docs/plan.md", _YAML),
    "contest.yaml": lambda: _block("docs/workloads/servers.md", _YAML),
    "my-team.yaml": lambda: _block("docs/workloads/file.md", _YAML),
    "reviewer.py": lambda: _block("README.md", _PYTHON),
    "my_users.py": lambda: _block("README.md", _PYTHON),
    "monday.jsonl": lambda: "".join(json.dumps(request) + "\n" for request in _TRACE),
    "./switch.sh": lambda: "#!/bin/sh\nexit 0\n",
}
"""files that the pages' readers have: from the page that shows them, where one does"""
