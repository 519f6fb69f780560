"""The gate for CI: are at least N users, or requests per second, proven to be served?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from probe_ext.measure.rate import Rate
from probe_ext.verdict.phrasing.formats import percent
from probe_ext.verdict.phrasing.plurals import is_or_are, listed, more, things
from probe_ext.verdict.wording.capacity_phrase import far_apart, interval_text
from probe_ext.verdict.wording.headline import TYPING_UNKNOWN, altered_replies
from probe_ext.verdict.wording.unproven_level import MORE_REPLIES_TELL


@dataclass(frozen=True)
class Gate:
    """Whether the gate is met, and a line that says so."""

    users: int
    """or rate"""
    outcome: Literal["passed", "failed", "unproven"]
    sentence: str

    @property
    def met(self) -> bool:
        """Whether the required users are proven to be served."""
        return self.outcome == "passed"


def gate(capacity: Mapping[str, Any], users: int | None) -> Gate | None:
    """Compare the proven capacity with the gate; None without a gate.

    Users served with stubs or from a cache prove nothing about the model. Even a low confidence of that diagnosis fails
    the gate, which requires proof.
    """
    if users is None:
        return None
    held, failed = capacity["bracket"]
    name = f"gate: at least {things(users, 'user')} served"
    if capacity["verdict"] == "invalid":
        return Gate(users, "unproven", f"{name}: unproven, the run is invalid")
    doubt = _other_unit(capacity, users) or _doubt(capacity, users)
    if doubt:
        return Gate(users, "unproven", f"{name}: unproven, {doubt}")
    if held is not None and held >= users:
        altered = altered_replies(capacity["diagnosis"]["bounds"])
        but = f"unproven, {held:,} held, but with replies {altered}" if altered else f"met, {held:,} held"
        return Gate(users, "unproven" if altered else "passed", f"{name}: {but}")
    if failed is not None and failed <= users:
        return Gate(
            users, "failed", f"{name}: missed, {failed:,} {is_or_are(failed)} too many{_for_kinds(capacity, users)}"
        )
    return Gate(users, "unproven", f"{name}: unproven, {_what_is_proven(capacity, users)}")


def _other_unit(capacity: Mapping[str, Any], users: int) -> str:
    """Return that the run says nothing of the gate: it asks for users and the run held rates, or the reverse."""
    if isinstance(users, Rate) == (capacity.get("load") == "rate"):
        return ""
    return f"the run held {'numbers of users' if isinstance(users, Rate) else 'rates of requests'}"


def _for_kinds(capacity: Mapping[str, Any], users: int) -> str:
    """Return `, for review`: which kinds of user are proven not to be served with so many; empty without kinds."""
    kinds = [kind for kind in capacity.get("kinds", ()) if kind["source"] == "workload"]
    missed = [kind["name"] for kind in kinds if kind["bracket"][1] is not None and kind["bracket"][1] <= users]
    return f", for {listed(missed)}" if missed else ""


def _what_is_proven(capacity: Mapping[str, Any], users: int) -> str:
    if any(level["users"] == users and "other_load" in level["reasons"] for level in capacity["levels"]):
        return f"others used the server at {things(users, 'user')}"
    held = capacity["bracket"][0]
    proven = f"{held:,} held" if held is not None else "no level held"
    return f"{proven}, and {users:,} was not proven{_estimate(capacity)}{_too_close(capacity, users)}"


def _too_close(capacity: Mapping[str, Any], users: int) -> str:
    """Say that no reasonable time proves the gate's users if their share stays what it was; empty otherwise."""
    level = next((level for level in capacity["levels"] if level["users"] == users), None)
    if level is None or level["seconds_needed"] is not None or not {*level["reasons"]} <= MORE_REPLIES_TELL:
        return ""
    return f"; at the share served so far ({percent(level['served_share'])}), not even another hour would prove it"


def _doubt(capacity: Mapping[str, Any], users: int) -> str:
    """Return what spoils a claim about this many users: a level up to them that something else than load made worse."""
    again = [level["users"] for level in capacity.get("levels", ()) if "needs_second_visit" in level["reasons"]]
    for what, found in (
        ("the server changed during the run: visits differ", capacity.get("drift", ())),
        (f"service was worse than at {more(users)}", capacity.get("contradictions", ())),
        ("one bad stretch needs a second visit", again),
    ):
        below = [number for number in found if number <= users]
        if below:
            return f"{what} at {things(below[0], 'user')}"
    if any(one["check"] == TYPING_UNKNOWN and one["state"] == "fail" for one in capacity.get("findings", ())):
        return "the typing speed of too many replies is not known"
    return ""


def _estimate(capacity: Mapping[str, Any]) -> str:
    """Return what the run suggests instead, with its interval."""
    suggestion = capacity["suggestion"]
    if suggestion is None or not suggestion["users"]:
        return ""
    if suggestion["high"] is None:
        return f" (probably at least {things(suggestion['users'], 'user')})"
    interval = suggestion["low"], suggestion["high"]
    if between := far_apart([level["users"] for level in capacity["levels"]], suggestion["users"], interval):
        low, above = between
        return f" (probably at least {low:,} {is_or_are(low)} served, and fewer than {above:,})"
    span = interval_text(interval)
    return f" (probably about {suggestion['users']:,} {is_or_are(suggestion['users'])} served, 95 %: {span})"
