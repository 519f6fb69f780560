"""The requests of a replayed trace: prompts of the recorded lengths, which share what the recorded ones shared."""

from array import array
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from probe_ext.access.ask import Ask
from probe_ext.access.prompt_source import length_model
from probe_ext.prompts.block_text import BlockTexts
from probe_ext.workload.draws import pick, uniform_share
from probe_ext.workload.traces.sharing import block_lengths, shared_tokens
from probe_ext.workload.traces.trace import Trace
from probe_ext.workload.user_kind import UserKind


class TracePrompts:
    """Makes the requests of a trace in one process; `prepared`: what the master found out of prompt lengths."""

    def __init__(self, kind: UserKind, trace: Trace, prepared: Mapping[str, Any]) -> None:
        self.kind, self.trace = kind, trace
        self._seed: int = prepared.get("seed", 0)
        self._model = length_model(dict(prepared))
        self._texts: dict[int, BlockTexts] = {}
        self._shared = array("I", shared_tokens(trace.requests, trace.block_tokens))

    def ask(self, place: int, replay: int) -> Ask:
        """Return the request at a place of the trace; each replay of the trace has texts of its own."""
        request, kind = self.trace.requests[place], self.kind
        if replay not in self._texts:
            self._texts = {replay: BlockTexts(self._seed, self._model, replay)}  # the last one's are not asked again
        lengths = block_lengths(request, self.trace.block_tokens)
        blocks = list(zip(request.blocks, lengths, strict=False))
        prompt = self._texts[replay].prompt(blocks, str(place), request.tokens_in)
        prompt = replace(prompt, shared_tokens=self._shared[place])
        streamed = None if kind.stream is None else self._share("stream", place) < kind.stream
        return Ask(prompt, {**kind.body, **self._named(request.session), "max_tokens": request.tokens_out}, streamed)

    def _named(self, session: int) -> dict[str, str]:
        """Return the model, where the kind has a choice of them; a session keeps its own."""
        choice = self.kind.model
        return {"model": pick(choice.names, self._share("model", session))} if choice else {}

    def _share(self, purpose: str, number: int) -> float:
        return uniform_share(purpose, self._seed, self.kind.name, "trace", number)
