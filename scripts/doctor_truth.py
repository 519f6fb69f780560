"""Run `probe doctor` against every simulated personality, and compare its findings with what the personality does.

`make test-doctor` runs it. A personality that is not in the table below fails, so that a new one gets its line. The
checks of this machine are not compared; a check that is `unknown` must be expected to be.
"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from probe_ext.sim.personality import personality_names
from scripts.processes import PROBE, simulated

MACHINE = {"open_files", "disk", "ceiling"}
AT_ONCE = 3
SPEED = "4"
EXPECTED: dict[str, dict[str, str]] = {
    # status of each finding that is not ok, and words of those that are
    "vllm": {"prefix_cache": "On", "cancel": "no request was running", "tool_calls": "Tools are ignored"},
    "sequential": {"prefix_cache": "Off"},
    "response-cache": {},
    "first-token": {"streaming": "unknown", "cancel": "unknown", "answer_length": "problem"},
    "chunky": {"streaming": "warn"},
    "held-back": {},
    "early-role": {},
    "cold-start": {},
    "hot-gpu": {},
    "no-details": {"usage": "Cached tokens are not reported"},
    "no-cancel": {"cancel": "problem"},
    "lumps": {"streaming": "warn"},
    "unstreamed": {
        "streaming": "problem",
        "cancel": "unknown",
        "prefix_cache": "unknown",
        "tool_calls": "not streamed",
    },
    "no-prefix-cache": {"prefix_cache": "Off"},
    "wrong-usage": {"usage": "problem"},
    "no-usage": {"usage": "warn"},
    "small-context": {"context": "problem", "cancel": "unknown", "prefix_cache": "unknown"},
    "few-files": {"server_process": "problem"},
    "replicas": {"replicas": "problem"},
    "wrong-clock": {"clock": "warn"},
    "no-keep-alive": {"keep_alive": "warn"},
    "reasoning": {"reasoning": "Recognised in 3 of 3"},
    "long-reasoning": {"reasoning": "warn", "tool_calls": "unknown"},
    "think-tags": {"reasoning": "Recognised in 3 of 3"},
    "tools": {"tool_calls": "A call arrives in"},
    "held-tools": {"tool_calls": "warn"},
    "text-tools": {"tool_calls": "warn"},
    "no-tools": {"tool_calls": "Refused"},
    "request-times": {},
    "duplicates": {"cancel": "problem"},
    "far": {},
}
STATES = {"warn", "problem", "unknown"}


def findings(personality: str) -> list[dict[str, str]]:
    """Return the doctor's findings on a simulated server of a process of its own."""
    with simulated("--speed", SPEED, "--personality", personality) as url:
        looked = subprocess.run([*PROBE, "doctor", url, "--json"], capture_output=True, text=True, check=False)
    return list(json.loads(looked.stdout)["findings"])


def complaints(personality: str) -> list[str]:
    """Return what the doctor says that is not so, and what it does not say."""
    if personality not in EXPECTED:
        return [f"{personality}: no line in {Path(__file__).name}"]
    expected = EXPECTED[personality]
    wrong = []
    for finding in findings(personality):
        want = expected.get(finding["id"], "ok")
        right = finding["status"] == want if want in {*STATES, "ok"} else want in finding["evidence"]
        if finding["id"] not in MACHINE and not right:
            wrong.append(f"{personality}: {finding['id']}: {want} expected, {finding['status']}: {finding['evidence']}")
    return wrong


def main() -> int:
    """Print one line per personality; return 1 if the doctor is wrong about any."""
    names = sys.argv[1:] or personality_names()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = dict(zip(names, pool.map(complaints, names), strict=True))
    for name, wrong in results.items():
        print("\n".join(wrong) if wrong else f"{name}: as it is")
    return int(any(results.values()))


if __name__ == "__main__":
    sys.exit(main())
