"""What the run can prove at all, and how long the proof of its gate takes at least: said before the load."""

from collections.abc import Sequence

from probe_ext.swarm.preparation.preflight import PreparedRun, time_text
from probe_ext.swarm.preparation.target_probe import profiles_of
from probe_ext.swarm.preparation.warm_up import MAX_REPLY_TOKENS
from probe_ext.verdict.grading.kind_profiles import Kind
from probe_ext.verdict.inference.level_estimates import LeastProof, least_proof
from probe_ext.verdict.levels.all_kinds import split_error
from probe_ext.verdict.levels.visits import criteria_of
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.verdict.wording.unproven_level import unprovable


def profile_line(prepared: PreparedRun) -> str | None:
    """Say that a profile asks for more than any run can prove; None if none does."""
    judged_by = {kind.profile.name: kind.profile for kind in _kinds(prepared)}
    lines = (" ".join(unprovable(name, criteria_of(profile))).strip() for name, profile in judged_by.items())
    return next(filter(None, lines), None)


def proof_line(prepared: PreparedRun) -> str | None:
    """Say how long the gate's proof takes at least; None without a gate.

    Each user needs some replies. Their length follows from the warm-up's single request, if there was one, and is a
    guess: its reply was short. Of several kinds of user, the one counts that takes longest.
    """
    users = prepared.options.fail_under_users
    if users is None:
        return None
    reply, kinds = _reply_seconds(prepared), _kinds(prepared)
    people = [_people(kind, kinds, users) for kind in kinds]
    proofs = [_proof(kind, len(kinds), n, reply) for kind, n in zip(kinds, people, strict=True)]
    known = [(proof, n) for proof, n in zip(proofs, people, strict=True) if proof is not None]
    name = f"gate of {things(users, 'user')}"
    if len(known) < len(proofs):
        return f"{name}: no reasonable time proves it"
    longest, n = max(known, key=lambda one: (one[0].seconds, one[0].replies / one[1]))
    each = things(longest.replies // n, "reply", "replies")
    if not reply:
        return f"{name}: its proof takes at least {each} from each user, all served"
    seconds = time_text(round(longest.seconds))
    return f"{name}: its proof takes at least {each} from each user, all served: about {seconds}"


def _reply_seconds(prepared: PreparedRun) -> float:
    """Return about how long a reply takes, from the warm-up; 0 where it does not tell."""
    rounds = (prepared.preparation.warm_up or {}).get("rounds") or []
    workload = prepared.preparation.workload
    asked = workload.sample if workload else prepared.options
    longer = max(1.0, asked.max_tokens / MAX_REPLY_TOKENS)
    return float(rounds[0]["slowest_reply"] * longer) if rounds and not rounds[0]["failed"] else 0.0


def _kinds(prepared: PreparedRun) -> Sequence[Kind]:
    """Return the kinds of user that the run needs to be served; a single one without a workload."""
    profiles, workload = profiles_of(prepared.preparation), prepared.preparation.workload
    pause = workload.workload.kinds[0].think_time.average if workload else prepared.options.think_time
    return profiles.stated or [Kind("", profiles.default, share=1.0, think_time=pause)]


def _people(kind: Kind, kinds: Sequence[Kind], users: int) -> int:
    """Return how many of so many users are of this kind."""
    shared = max(0, users - sum(one.users or 0 for one in kinds))
    return kind.users or max(1, round((kind.share or 0.0) * shared))


def _proof(kind: Kind, kinds: int, people: int, reply: float) -> LeastProof | None:
    cycle = reply + (kind.think_time or 0.0) if reply else 0.0
    return least_proof(people, cycle, split_error(criteria_of(kind.profile), kinds))
