"""How long a workload's requests are, before any is sent: for the checks and first requests of a run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import OPTIONS, Options
from probe_ext.workload.agent_kind import Agent
from probe_ext.workload.distribution_forms import Constant, Distribution, Empirical
from probe_ext.workload.draws import Draws
from probe_ext.workload.traces.trace import Trace
from probe_ext.workload.user_kind import PromptSource, UserKind
from probe_ext.workload.workload_file import Workload

ALMOST_ALL = 0.9999
_CHARACTERS_PER_TOKEN = 4
_SAMPLED_CONVERSATIONS = 300
_TEMPLATE_TOKENS = 16
_RARE = 0.005


@dataclass(frozen=True)
class KindLengths:
    """Tokens of one kind's first requests."""

    kind: UserKind
    shared: int
    """system prompt and shared prefix"""
    question: Distribution
    output: Distribution

    @property
    def usual_input(self) -> int:
        """Median length of a first request."""
        return self.shared + self.question.count(0.5)

    @property
    def usual_output(self) -> int:
        """Median of the longest replies that are asked for."""
        return self.output.count(0.5)


def lengths_of(kind: UserKind, options: Options) -> KindLengths:
    """Return the lengths of a kind; what it does not say is as in the options."""
    system = kind.system_prompt
    shared = kind.shared_prefix_tokens
    if system is not None:
        shared += system.tokens if system.tokens is not None else len(system.text or "") // _CHARACTERS_PER_TOKEN + 1
    stated = kind.prompts.tokens if kind.prompts else None
    question = stated or Constant(max(1, options.input_tokens - (0 if kind.prompts else shared)))
    return KindLengths(kind, shared, question, kind.output_tokens or Constant(options.max_tokens))


def with_trace_lengths(workload: Workload, trace: Trace) -> Workload:
    """Return a workload whose only kind has the lengths of a trace, as distributions."""
    prompts = PromptSource(tokens=Empirical(tuple(float(one.tokens_in) for one in trace.requests)))
    replies = Empirical(tuple(float(one.tokens_out) for one in trace.requests))
    kind = workload.kinds[0].model_copy(update={"prompts": prompts, "output_tokens": replies})
    return workload.model_copy(update={"kinds": (kind,)})


def sample_options(workload: Workload, options: Options) -> Options:
    """Return options for requests like the workload's longest kind's, which is sent before the run to see if it works.

    Users, levels, time limits and all else stay.
    """
    longest = max(
        (lengths_of(kind, options) for kind in workload.kinds), key=lambda one: one.usual_input + one.usual_output
    )
    kind = longest.kind
    return replace(
        options,
        input_tokens=longest.usual_input + _TEMPLATE_TOKENS,
        max_tokens=longest.usual_output,
        shared_prefix_tokens=0,
        api=kind.api or options.api,
        no_stream=options.no_stream if kind.stream is None else kind.stream == 0,
    )


def longest_reply(workload: Workload, options: Options) -> int:
    """Return the tokens that hardly any reply exceeds."""
    return max(lengths_of(kind, options).output.count(ALMOST_ALL) for kind in workload.kinds)


def mean_lengths(workload: Workload, options: Options, counted: Mapping[str, float]) -> tuple[int, int]:
    """Return the mean tokens of first requests over all kinds, and of what they share with others of their kind.

    `counted`: means of kinds whose prompts come from files, as the server counts them.
    Kinds are weighted by their share of users. How many users one of a fixed number stands beside depends on the level:
    it weighs as much as the average of the others; if all are fixed, each by its number.
    """
    weights = _weights(workload)
    total = sum(weights.values())
    every = [(weights[kind.name] / total, lengths_of(kind, options)) for kind in workload.kinds]
    return (
        round(
            sum(weight * counted.get(one.kind.name, one.shared + one.question.average_count) for weight, one in every)
        ),
        round(sum(weight * one.shared for weight, one in every)),
    )


def _weights(workload: Workload) -> dict[str, float]:
    shares = [share for share in workload.shares.values() if share is not None]
    if not shares:
        return {kind.name: float(kind.users or 0) for kind in workload.kinds}
    return {name: 1 / len(shares) if share is None else share for name, share in workload.shares.items()}


def check_unused_options(workload: Workload, options: Options) -> None:
    """SettingsError if an option is given that no kind of the workload leaves open."""
    kinds, no_trace = workload.kinds, workload.trace is None
    used = {
        "input_tokens": no_trace and any(kind.prompts is None for kind in kinds),
        "max_tokens": no_trace and any(kind.output_tokens is None for kind in kinds),
        "shared_prefix_tokens": False,
        "model": any(kind.model is None for kind in kinds),
        "api": any(kind.api is None for kind in kinds),
        "no_stream": any(kind.stream is None for kind in kinds),
    }
    for option in OPTIONS:
        value = getattr(options, option.name)
        if not used.get(option.name, True) and value != getattr(Options(), option.name):
            shown = "" if value is True else f" {value}"
            raise SettingsError(
                f"{option.flag}{shown}: has no effect: every kind of the workload {workload.name} sets it"
            )


def misfits(workload: Workload, options: Options, context: int, model: str) -> tuple[str | None, list[str]]:
    """Compare the lengths with the context: return why no run makes sense, and what will be cut.

    A kind whose usual first request does not fit cannot be measured; of others, long ones are shortened.
    """
    notes = []
    for kind in workload.kinds:
        lengths = lengths_of(kind, options)
        usual = lengths.usual_input + _TEMPLATE_TOKENS, lengths.usual_output
        if sum(usual) > context:
            problem = (
                f"workload {workload.name}: kind {kind.name}: its usual first request of {usual[0]:,} tokens and reply "
                f"of {usual[1]:,} are together more than the {context:,} tokens of {model}'s context"
            )
            return problem, []
        too_little = _too_little_for(lengths, kind.agent, context) if kind.agent is not None else None
        if too_little is not None:
            return f"workload {workload.name}: kind {kind.name}: {too_little} of {model}'s context", []
        if kind.agent is not None and kind.agent.compact is not None and kind.agent.compact.at > context:
            at = kind.agent.compact.at
            notes.append(f"{kind.name}: contexts are compacted when they fill the {context:,} tokens, before {at:,}")
        shortened, ended = _cut_shares(lengths, context)
        cuts = [
            (shortened, "of the first requests are longer than the context allows, and are shortened"),
            (ended, "of the conversations fill the context, and end before all their turns"),
        ]
        notes += [
            f"{kind.name}: about {share:.0%} {what} ({context:,} tokens)" for share, what in cuts if share > _RARE
        ]
    return None, notes


def _too_little_for(lengths: KindLengths, agent: Agent, context: int) -> str | None:
    """Return why a compacted context leaves no room for the usual next request; None if it leaves enough."""
    if agent.compact is None:
        return None
    following = agent.result_tokens.count(0.5) + lengths.usual_output
    if agent.compact.to + following + _TEMPLATE_TOKENS <= context:
        return None
    left = f"agent.compact.to: {agent.compact.to:,} tokens and the usual next {following:,}"
    return f"{left} are more than the {context:,} tokens"


def _cut_shares(lengths: KindLengths, context: int) -> tuple[float, float]:
    """Return the shares of conversations whose first request is shortened, and that end early, from a sample."""
    cuts = list(_sample_cuts(lengths, context))
    return cuts.count("shortened") / len(cuts), cuts.count("ended") / len(cuts)


def _sample_cuts(lengths: KindLengths, context: int) -> Iterator[str]:
    draws, agent = Draws(lengths.kind, "sample", 0), lengths.kind.agent
    request = 0
    for conversation in range(_SAMPLED_CONVERSATIONS):
        tokens, cut = float(lengths.shared + _TEMPLATE_TOKENS), "none"
        for turn in range(draws.turns(conversation)):
            draw = draws.request(request)
            request += 1
            message = draw.prompt_tokens or lengths.question.average_count
            tokens += draws.result_tokens(request) if agent is not None and turn else message
            output = draw.output_tokens or lengths.output.average_count
            if tokens + output > context and turn and agent is not None and agent.compact is not None:
                break
            if tokens + output > context:
                cut = "ended" if turn else "shortened"
                break
            tokens += output
        yield cut
