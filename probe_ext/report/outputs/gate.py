"""The gate for CI: are at least N users proven to be served?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from probe_ext.verdict.values.plurals import things
from probe_ext.verdict.wording.headline import not_the_models


@dataclass(frozen=True)
class Gate:
    """Whether the gate is met, and a line that says so."""

    users: int
    met: bool
    sentence: str


def gate(capacity: Mapping[str, Any], users: int | None) -> Gate | None:
    """Compare the proven capacity with the gate; None without a gate.

    Users served with stubs or from a cache prove nothing about the model. Even a low confidence of that diagnosis fails
    the gate, which requires proof.
    """
    if users is None:
        return None
    served = capacity["served_users"]
    name = f"gate: at least {things(users, 'user')} served"
    if capacity["verdict"] == "invalid":
        return Gate(users, False, f"{name}: unproven, the run is invalid")
    if served is not None and served >= users:
        answers = not_the_models(capacity["diagnosis"]["bounds"])
        but = f"unproven, {served:,} held, but with answers {answers}" if answers else f"met, {served:,} held"
        return Gate(users, not answers, f"{name}: {but}")
    failed = capacity["bracket"][1]
    if failed is not None and failed <= users and capacity["verdict"] == "valid":
        return Gate(users, False, f"{name}: missed, {things(failed, 'user')} failed")
    held = f"{served:,} held" if served is not None else "no level held"
    return Gate(users, False, f"{name}: unproven, {held}, and {users:,} was not proven")
