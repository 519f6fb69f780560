"""Why a reply failed: whether load can have been the reason, what the server said, and which option may help.

The warm-up before a run and the checks after it ask the same questions here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from probe_ext.measure.outcome import Outcome

UNAUTHORIZED = 401
_MAY_BE_LOAD = frozenset({408, 409, 423, 425, 429, 499})
"""Statuses below 500 with which servers and proxies also turn away what is too much for them."""
_NEVER_LOAD = frozenset({501, 505})
_SLOW = frozenset({Outcome.TIMEOUT_FIRST, Outcome.TIMEOUT_TOTAL, Outcome.STALLED, Outcome.HUNG_UP})
_QUOTA = re.compile(
    r"insufficient[_ ](?:quota|credits?|balance|funds)|exceeded your current quota|out of credits|credit balance"
    r"|payment required|billing (?:hard )?limit",
    re.IGNORECASE,
)
_NO_REPLY = re.compile(r"HTML page|content-encoding ", re.IGNORECASE)
_TLS = re.compile(r"certificat|\bTLS\b|\bSSL\b|wrong.version|handshake", re.IGNORECASE)
_TOO_LARGE = re.compile(r"(?:entity|payload|body|request|content) (?:is )?too large", re.IGNORECASE)
_CODE = re.compile(r"(?:HTTP )?([1-5][0-9]{2})\b")
_WITHOUT_WORDS = {
    Outcome.NO_ANSWER: "reasoning only, without an answer",
    Outcome.EMPTY: "the reply has no text",
    Outcome.FILTERED: "the server withheld the answer",
    Outcome.TRUNCATED: "the stream ended without a finish reason",
    Outcome.CONNECT_TIMEOUT: "no connection within --timeout-connect",
}


@dataclass(frozen=True)
class Failure:
    """How a reply failed."""

    outcome: str
    status: int | None
    message: str
    """as in `requests.csv`: short and safe to show"""
    finish_reason: str = ""

    @property
    def words(self) -> str:
        """What the server said, else what happened."""
        return self.message or _WITHOUT_WORDS.get(self._outcome, "") or self.outcome.replace("_", " ")

    @property
    def _outcome(self) -> Outcome:
        try:
            return Outcome(self.outcome)
        except ValueError:  # of another version
            return Outcome.BAD_DATA

    @property
    def code(self) -> int | None:
        """HTTP status, also of an error inside a stream."""
        named = _CODE.match(self.message) if self._outcome is Outcome.STREAM_ERROR else None
        return int(named[1]) if named else self.status

    @property
    def kind(self) -> str:
        """What failures alike have in common."""
        code = self.code
        if self._outcome in {Outcome.CONNECT_FAILED, Outcome.CONNECT_TIMEOUT, Outcome.CUT}:
            return "connection"
        if code is not None and code >= 500:
            return "5xx"
        return f"{code}" if code is not None and code >= 300 else self.outcome

    @property
    def is_slow(self) -> bool:
        """Whether the server was waited for in vain, which is its answer to the load."""
        return self._outcome in _SLOW

    @property
    def is_never_load(self) -> bool:
        """Whether no load makes a server answer like this: the request, the key or the address is wrong."""
        code, outcome = self.code, self._outcome
        if outcome in {Outcome.HTTP_ERROR, Outcome.STREAM_ERROR, Outcome.REJECTED} and code is not None:
            if _QUOTA.search(self.message):
                return True
            return (300 <= code < 500 and code not in _MAY_BE_LOAD) or code in _NEVER_LOAD
        if outcome is Outcome.BAD_DATA:
            return bool(_NO_REPLY.match(self.message))
        return outcome is Outcome.CONNECT_FAILED and bool(_TLS.search(self.message))

    @property
    def advice(self) -> str:
        """What may help, by its option."""
        for applies, advice in _ADVICE:
            if applies(self):
                return advice
        return "See `message` in requests.csv and the server's log."


def _says(pattern: str) -> Callable[[Failure], bool]:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda failure: bool(compiled.search(failure.message))


def _has_code(*codes: int) -> Callable[[Failure], bool]:
    return lambda failure: failure.code in codes


def _ended(*outcomes: Outcome) -> Callable[[Failure], bool]:
    return lambda failure: failure.outcome in outcomes


_ADVICE: tuple[tuple[Callable[[Failure], bool], str], ...] = (  # the first that applies
    (
        _has_code(UNAUTHORIZED),
        (
            "Set PROBE_API_KEY in the environment of the master and of every worker; for a key in another header, give "
            "--header-env NAME=VARIABLE."
        ),
    ),
    (
        lambda failure: 300 <= (failure.code or 0) < 400,
        "Give the address that the redirect names as --host; requests and the API key are not sent on.",
    ),
    (
        _says(r"(?:plain )?HTTP request (?:was sent )?to (?:an )?HTTPS|requires? (?:TLS|HTTPS)|use https"),
        "The port speaks TLS: give --host with https://.",
    ),
    (
        _says(
            r"max_(?:completion_|output_)?tokens\b.{0,60}"
            r"(?:too (?:large|high|big)|exceed|greater|at most|at least|limit|>)"
        ),
        "Change --max-tokens to what the model allows.",
    ),
    (
        _says(
            r"context (?:length|window|size)|maximum context|prompt is too long|too many tokens|input is too long"
            r"|longer than the|exceeds? (?:the )?(?:model|context|max)|max_model_len|exceed_context"
            r"|max_new_tokens\W* must be"
            r"|(?:prompt|input|request) (?:is )?too (?:long|large)"
        ),
        "Lower --input-tokens or --max-tokens, or raise the server's context length (vLLM: --max-model-len).",
    ),
    (
        lambda failure: failure.code == 413 or bool(_TOO_LARGE.search(failure.message)),
        "Lower --input-tokens, or raise the proxy's limit for request bodies (nginx: client_max_body_size).",
    ),
    (
        _says(r"stream(?:ing|ed)?\b.{0,40}(?:not (?:be )?(?:support|allow|enabl)|unsupported|disabled)"),
        "Give --no-stream: replies are then judged by how long the whole answer takes.",
    ),
    (
        _says(
            r"embed|rerank|not a chat model|chat template|does not support (?:the )?(?:chat|completion|generat)"
            r"|not support(?:ed)? .{0,30}chat|only supported in"
        ),
        "Name a model that generates text with --model, or another API with --api.",
    ),
    (
        _says(
            r"\bmodel\W* (?:is |field )?(?:required|missing)"
            r"|\bmodel\b.{0,80}(?:not (?:found|exist|available|loaded|served|supported|deployed)|n[o']t exist|unknown"
            r"|unavailable|invalid)|(?:no such|unknown|invalid|unsupported|find|no) (?:the )?model"
        ),
        "Name a model that the server serves with --model.",
    ),
    (
        lambda failure: failure.code in {402} or bool(_QUOTA.search(failure.message)),
        "The account's quota is used up: raise it, or measure with another PROBE_API_KEY.",
    ),
    (
        _has_code(403),
        (
            "The server refuses this key or this client: check PROBE_API_KEY and what the gateway wants besides "
            "(--header, --header-env)."
        ),
    ),
    (
        _has_code(404, 405, 410, 501),
        "Check the path: --host takes the base URL without /v1, and --api chooses the API that the server offers.",
    ),
    (_has_code(406, 415), "The gateway wants other headers: give them with --header NAME:VALUE."),
    (_has_code(421), "The server answers for another name: give the one of its certificate and routes as --host."),
    (
        _has_code(426, 505),
        "The server wants another protocol than HTTP/1.1: measure behind it, or give its HTTP/1.1 address.",
    ),
    (_has_code(431), "Headers are too large: check --header, --header-env and PROBE_API_KEY."),
    (
        _has_code(400, 409, 422, 428),
        (
            "If the message names a field, change what sets it: an option, --body or the locustfile. What a gateway "
            "wants besides is given with --body and --header."
        ),
    ),
    (
        lambda failure: failure.outcome == Outcome.BAD_DATA and "HTML page" in failure.message,
        "This is a web page or a login, not the API: --host takes the API's base URL; a gateway may want --header-env.",
    ),
    (
        _has_code(502, 503, 504),
        (
            "The server behind this address is not ready or not reachable: wait until it answers "
            "(curl HOST/v1/models), then repeat."
        ),
    ),
    (_has_code(429), "The server's rate limit turns the requests away: raise it for this key, or send fewer requests."),
    (_has_code(500), "The server fails at every request: see its log."),
    (
        lambda failure: failure.outcome == Outcome.CONNECT_FAILED and bool(_TLS.search(failure.message)),
        "Check the certificate; --insecure skips its verification.",
    ),
    (
        _ended(Outcome.CONNECT_FAILED, Outcome.CONNECT_TIMEOUT),
        "Check --host, and that the server runs and can be reached from every worker.",
    ),
    (
        _ended(Outcome.CUT),
        "The connection is closed before a reply: check --host, its scheme (http or https), and the server's log.",
    ),
    (
        _ended(Outcome.NO_ANSWER),
        "Raise --max-tokens: the replies end within the reasoning, and this limit is the client's.",
    ),
    (
        _ended(Outcome.BAD_DATA, Outcome.TRUNCATED, Outcome.EMPTY),
        "Check that --api names the API that the server offers, and --model a model that generates text.",
    ),
)
