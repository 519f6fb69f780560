"""The question that CI asks: are at least N users proven to be served?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from probe_ext.verdict.values.plurals import people
from probe_ext.verdict.wording.headline import not_the_models


@dataclass(frozen=True)
class Gate:
    """The answer, and a line that says which."""

    users: int
    met: bool
    says: str


def gate(capacity: Mapping[str, Any], users: int | None) -> Gate | None:
    """Whether levels that are proven meet the gate; None without one.

    People who were served with stubs, or from a cache, prove nothing of the model. However sure the diagnosis is of it:
    a gate asks for proof, and even the one sign that a low confidence rests on leaves none.
    """
    if users is None:
        return None
    served = capacity["served_users"]
    asked = f"gate: at least {people(users)} served"
    if capacity["verdict"] == "invalid":
        return Gate(users, False, f"{asked}: unproven, the run is not to be believed")
    if served is not None and served >= users:
        answers = not_the_models(capacity["diagnosis"]["bounds"])
        but = f"unproven, {served:,} held, but with answers {answers}" if answers else f"met, {served:,} held"
        return Gate(users, not answers, f"{asked}: {but}")
    failed = capacity["bracket"][1]
    if failed is not None and failed <= users and capacity["verdict"] == "valid":
        return Gate(users, False, f"{asked}: missed, {people(failed)} were too many")
    held = f"{served:,} held" if served is not None else "no level held"
    return Gate(users, False, f"{asked}: unproven, {held}, and {users:,} was not proven")
