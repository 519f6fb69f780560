"""What to run next: the command that would prove what a climb suggests, or narrow what lies between two levels."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from probe_ext.verdict.judgement import Climb, LevelResult

MOST_LEVELS = 5

Bracket = tuple[int | None, int | None]


def next_command(
    manifest: Mapping[str, Any], between: Bracket, climb: Climb | None, levels: Sequence[LevelResult]
) -> str | None:
    """A `probe run` with levels around the boundary; None where there is nothing left to find out."""
    wanted = next_levels(between if between != (None, None) or climb is None else climb.bracket, levels)
    if not wanted:
        return None
    target = manifest.get("target")
    host = target.get("host") if isinstance(target, Mapping) else None
    parts = ["probe", "run", str(manifest.get("scenario") or "capacity"), "--host", str(host or "URL")]
    return shlex.join([*parts, "--levels", ",".join(str(n) for n in wanted)])


def next_levels(between: Bracket, levels: Sequence[LevelResult]) -> list[int]:
    """Numbers of users to measure; empty where the boundary lies between neighbours."""
    held, failed = between
    if held is None and failed is None:
        return sorted({level.users for level in levels if level.users > 0})[:MOST_LEVELS]
    if failed is None:
        return [held, 2 * held, 4 * held] if held else []
    low = held if held is not None else max(1, failed // 4)
    if held is not None and failed - held <= 1:
        return []
    count = min(MOST_LEVELS, failed - low + 1)
    return sorted({round(low + (failed - low) * i / max(count - 1, 1)) for i in range(count)})
