"""What users who are served worse have in common, in words."""

from probe_ext.verdict.values.capacity_estimate import SharedTrait, Trait

_WORDS: dict[Trait, tuple[str, str]] = {
    "scenario": ("runs", "the scenario {}"),
    "kind": ("sends", "requests of the kind {}"),
    "machine": ("runs", "on the machine {}"),
    "worker": ("runs", "on {}"),
    "long_prompts": ("has", "the longest prompts ({} tokens on average)"),
    "long_answers": ("has", "the longest answers ({} tokens on average)"),
    "few_cached_tokens": ("has", "the fewest cached prompt tokens ({} on average)"),
    "slow_connections": ("has", "the slowest connections ({} to connect on average)"),
    "new_connections": ("has", "the most new connections ({} of the requests)"),
}
NOTHING_SHARED = (
    "Nothing in the recorded replies tells them from the others: not worker, machine, scenario, kind of request, "
    "lengths, cached tokens or connections."
)


def shared_in_words(shared: SharedTrait, at_once: int) -> str:
    """Return `all 4 run on the machine gpu-2`, `3 of these 4 have the longest prompts (1,900 tokens on average)`.

    `at_once`: how many were said to be served worse at one level; the trait is that of the users of all levels.
    """
    verb, rest = _WORDS[shared.trait]
    if shared.worse == 1:
        return f"this user {verb} {rest.format(shared.value)}"
    verb = "have" if verb == "has" else verb.removesuffix("s")
    every = shared.having == shared.worse
    who = f"all {shared.worse:,}" if every else f"{shared.having:,} of these {shared.worse:,}"
    over = "" if shared.worse == at_once else "over the whole run, "
    return f"{over}{who} {verb} {rest.format(shared.value)}"
