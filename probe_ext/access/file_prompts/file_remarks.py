"""What is said of a prompt file before a run: its size and lengths, what is left out, and a mean that is off."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from probe_ext.measure.findings import FindingState, recorded_finding
from probe_ext.prompts.files.length_check import FileLengths
from probe_ext.prompts.files.prompt_file import PromptFile

MAX_MEAN_DIFFERENCE = 0.10
"""between the counted mean and the stated one; more is warned of"""


@dataclass(frozen=True)
class FileUse:
    """What a kind of user does with a file."""

    kind: str
    path: str
    field: str | None
    api: str
    stated_tokens: float | None
    """mean length of a prompt, as the workload says"""
    longest_reply: int
    """tokens that hardly any reply exceeds"""
    system: str = ""
    shared_prefix: str = ""


@dataclass(frozen=True)
class Remark:
    """One line for the terminal; a finding in the report, too, if it has a state."""

    text: str
    state: FindingState | None = None
    advice: str = ""

    def as_finding(self) -> dict[str, Any] | None:
        """Return the finding for `run.json`."""
        if self.state is None:
            return None
        return recorded_finding("prompt_files", f"{self.text}.", self.advice, state=self.state)


def describe(
    use: FileUse, file: PromptFile, lengths: FileLengths | None, left_out: tuple[int, ...]
) -> Iterator[Remark]:
    """Say how many prompts there are, how long they are, and how many entries have none."""
    sent = len(file) - len(left_out)
    prompts = f"{use.kind}: {file.name}: {sent:,} {'prompt' if sent == 1 else 'prompts'}"
    if lengths is None or lengths.mean_tokens is None:
        none = "" if left_out else ", so none is left out"
        yield Remark(f"{prompts}, of unknown length: the server does not count tokens{none}", "unproven")
    else:
        about = "" if lengths.exact else "about "
        yield Remark(f"{prompts} with {about}{lengths.mean_tokens:,.0f} tokens on average, as the server counts them")
    if empty := file.without_prompt:
        entries = "1 entry without a prompt is" if empty == 1 else f"{empty:,} entries without a prompt are"
        yield Remark(f"{use.kind}: {file.name}: {entries} left out")


def too_long(use: FileUse, file: PromptFile, lengths: FileLengths, bound: str) -> Remark:
    """Say how many prompts are too long, and which is the first."""
    number, first = len(lengths.left_out), file.place(lengths.left_out[0])
    are = "1 prompt is" if number == 1 else f"{number:,} prompts are"
    longest = f", the longest has {lengths.longest[1]:,} tokens" if lengths.longest else ""
    return Remark(
        f"{use.kind}: {file.name}: {are} too long and left out {bound}: the first is {first}{longest}",
        "fail",
        "The load is lighter than the file. Use a model with a longer context, or shorter replies.",
    )


def too_long_for_others(use: FileUse, file: PromptFile, number: int) -> Remark:
    """Say how many prompts are left out only because they are too long for other kinds that share the file."""
    are = "1 more prompt is" if number == 1 else f"{number:,} more prompts are"
    return Remark(
        f"{use.kind}: {file.name}: {are} left out, as too long for another kind that shares the file",
        "fail",
        "The load is lighter than the file. Give each kind its own file.",
    )


def off_mean(use: FileUse, file: PromptFile, mean: float, stated: float) -> Iterator[Remark]:
    """Say that prompts have another mean length than the workload states, if it is off by too much."""
    difference = mean / stated - 1
    if abs(difference) > MAX_MEAN_DIFFERENCE:
        more = f"{100 * abs(difference):,.0f} % {'more' if difference > 0 else 'less'}"
        yield Remark(
            f"{use.kind}: the prompts in {file.name} have {mean:,.0f} tokens on average, "
            f"{more} than the {stated:,.0f} that the workload states",
            "fail",
            "Correct `tokens` in the workload, or use other prompts.",
        )
