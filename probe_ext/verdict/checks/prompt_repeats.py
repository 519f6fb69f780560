"""Was the run longer than its prompt files? A prompt that is sent again is found in the server's prefix cache."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from probe_ext.verdict.evidence.columns import texts
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.evidence.manifest_view import mapping, mappings, number
from probe_ext.verdict.phrasing.plurals import listed, things
from probe_ext.verdict.values.finding import Finding


def repeats_check(evidence: Evidence) -> Iterator[Finding]:
    """Yield whether prompts were sent more than once; nothing for a run without prompt files."""
    files = _prompts_by_file(evidence.manifest)
    if not files:
        return
    begun = Counter(
        name
        for name, kind in zip(texts(evidence.replies, "scenario"), texts(evidence.replies, "kind"), strict=True)
        if kind != "turn"  # later turns of a conversation may come from the same entry
    )
    repeated = []
    for (file, prompts), kinds in files.items():
        sent = sum(begun[kind] for kind in kinds)
        if sent > prompts:
            repeated.append(f"{things(prompts, 'prompt')} of {file}: {things(sent, 'request')}")
    if not repeated:
        yield Finding("prompt_repeats", "pass", False, "No prompt of a file was sent twice.")
        return
    why = f"The run was longer than its prompt files, so prompts were sent again ({listed(repeated)})."
    advice = "The first word may have come sooner than with new prompts. Use more prompts, or a shorter run."
    yield Finding("prompt_repeats", "fail", False, why, advice)


def _prompts_by_file(manifest: Mapping[str, Any]) -> dict[tuple[str, int], list[str]]:
    """Return the kinds that use a file, by the file's name and how many of its prompts are sent."""
    files: dict[tuple[str, int], list[str]] = {}
    for kind in mappings(mapping(manifest.get("workload")).get("kinds")):
        source = mapping(kind.get("prompts"))
        prompts = number(source, "prompts")
        if source.get("file") and prompts:
            files.setdefault((str(source["file"]), int(prompts)), []).append(str(kind.get("name")))
    return files
