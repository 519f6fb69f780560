"""Definitions of all figures on the page, linked from wherever a figure appears."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.phrasing import formats, plurals


@dataclass(frozen=True)
class Term:
    """One entry. `key` is its anchor on the page."""

    key: str
    name: str
    meaning: str


_USERS = """
slo | SLO profile | Service-level objectives: the bounds by which a reply is judged (time to the first word, typing \
speed, silence, complete answer), and how many replies and {people} must keep them.
users | users | Simulated {people_who} use the server at the same time: each asks, {reads} the reply, {and_then}.
rate | rate of requests | Requests per second of an open stream, as its schedule asks for them: they arrive whether or \
not earlier ones have been answered, each as if from a person of its own.
sent_rate | requests sent | Requests per second that were really sent in the measured part of the level.
delayed | delayed | Arrivals that found all connections busy (--max-in-flight) and had to wait for one. The wait \
counts for the first word. Those that were not sent are included.
unsent | not sent | Arrivals that found no free connection in time. They count as broken.
level | level | A stretch of the run with a constant number of users, without its settling time. A reply belongs to \
the level in which it was sent.
served | served | A reply that met every bound of the profile. {A_person} is served if at least {served_share} of \
their replies are served and at most {broken_share} are broken.
strained | strained | A reply that is neither served nor broken: the service works, but noticeably slowly.
broken | broken | A reply beyond the profile's second bound in any dimension, or one that failed.
needed | what {a_person} needs | At least {served_share} of {a_person}'s replies must be served. A number of users is \
served if that is so for at least {level_share} of them.
share | share served | Served replies over all judged replies at this number of users, all visits together. A reply \
still running when its level ends counts as served if it has missed no bound.
share_interval | 95 % interval of the share | The range of long-run shares that agree with these replies. Replies of \
one moment share one queue, so blocks of time count, not single replies.
fit | fit | The served share, fitted to all levels so that it never rises with the number of users. Where the data \
place the capacity between two levels, the line in the picture crosses there.
broken_bound | broken, at most | Upper end of the interval of the broken share.
alone | proven for one dimension | What would be proven if only this dimension counted.
capacity | capacity | The largest number of concurrent users such that it and all smaller numbers are served: an \
estimate where the data place it between levels, otherwise the largest level proven to be served.
interval | 95 % interval | The range in which the capacity lies, in whole users: at least 95 of 100 intervals made \
this way contain it.
state | result | A level holds where the run proves that so many users are served, fails where it proves that they are \
not (each wrong in at most 2.5 % of runs), and is unproven otherwise.
why | what costs replies | The dimensions that make this number of users fall short, or cost any reply, the worst first.
replies | judged replies | Replies sent in the measured part of the level: the shares and all figures of replies are \
of these. Left out are those sent so late in it that it ended before the bound for the first word, and those that \
failed for a reason that is not the server's load.
open | open replies | Judged replies that were still running when their level ended, because users were added or the \
run was over, and had missed no bound. They count as served.
"""
_FIGURES = """
first_word | first word | The wait from when the user wanted to send to the model's first token, less the load \
generator's own lateness.
ttft | TTFT | Time to first token, from sending the request. p50, p95, p99: half, 95 % and 99 % of replies were at \
least as fast.
server_ttft | TTFT at the server | Time from a request's arrival at the server to its first token, as the server \
measured it itself and sent it with the reply.
way | way | How much longer a time to first token is here than at the server, reply by reply: the network between \
them, and whatever stands in it.
typing | typing speed | Tokens per second of one reply after its first token (decode rate, 1/TPOT); the median (p50) \
of the level's replies.
silence | longest silence | The longest gap between two successive tokens in the middle of a reply.
gap | gaps between stream events | The time from one piece of a reply's text to the next, as they arrive. A piece may \
carry several tokens. p50, p95, p99: half, 95 % and 99 % of gaps were no longer.
itl | inter-token latency (ITL) | A gap divided by the number of tokens in the piece that ended it.
answer | complete answers | Whether the reply came to its own end, with an answer.
cold | cold user | A user whose prompt shares nothing with what the server keeps in its prefix cache.
tokens_per_s | throughput | Tokens that arrived in the measured part of the level, all users together, per second.
locust_rate | replies per second | Replies that ended in each second, from Locust's own history: a mean over ten \
seconds that ends two seconds earlier.
rolling | rolling window | Requests that ended in the time before each moment, as a dashboard shows them. A failed \
request counts until it has left the window, whatever the server has done since.
words | token stream | One line per user. A bar is a reply from its first to its last token; an outlined hole is a \
silent pause within it.
pause | silent pause | A gap between two tokens of a reply of at least the profile's bound for silence, or a silence \
of that length in which a reply died.
silent | silent at once | How many replies were in a silent pause at the same time.
team | team | People who have a reply in flight for only part of their time, R ÷ (R + Z): R seconds per reply, Z \
seconds to read and think, as given. The range is cautious: the team that keeps no more replies in flight than at the \
proven capacity, for 99 % and for 95 % of the time, if people ask independently. It is computed, not measured.
cost | cost | The given hourly price over what the server does in an hour at its capacity, if it is kept busy. Tokens \
are output tokens.
overlap | overlap and chance | A pause overlaps a preemption when the server's counter rose between two samples during \
the pause, and ends with one when it rose as the reply went on. Chance: how many pauses would end with one after \
shifting them by random times within short windows, in which the load hardly changes; the mean, and the range of 95 % \
of the shifts. "More than chance" means at least a fifth of the pauses more, and is wrong in at most 2.5 % of runs \
without a connection. Overlap is evidence, not proof of a cause.
slo_attainment | SLO attainment | Served replies over judged replies, failures included, of one visit.
goodput_rps | goodput | Served replies per second in which judged replies were sent. DistServe's goal is the highest \
rate at which 90 % of the requests are served.
fluidity_index | fluidity index | Share of token deadlines met (Etalon): the first token is due within the profile's \
bound for the first word, each further one at its typing speed after the one before. Early tokens are slack for later \
ones; a late token misses every deadline that passes meanwhile.
fluid_share | fluid replies | Replies whose own fluidity index is at least 0.9.
kv | KV cache | The server's memory for the tokens of running requests (their attention keys and values). Shown is \
the share in use, as the server reports it about once a second; the table shows the peak.
bound | what limits the server | Rules that each answer one question: does this limit hold, is it ruled out, or what \
would be needed to know. Each rests on one sign; with two further signs that agree the confidence is high, with one \
medium, with none low.
wall | KV-cache saturation | The tokens that the KV cache holds, less a prefix shared by all prompts, over what a \
reply holds when it ends (prompt and answer in whole blocks). The range goes from all replies ending at once to \
replies spread evenly. The last row is where the run itself ran out of memory.
edge | KV-cache headroom | Just before saturation everything still looks fine although the KV cache is nearly full. By \
its size, the cache has room for a range of users: from all replies ending at once to replies spread evenly.
preemptions | preempted | Replies that the server paused for lack of KV cache, as it counts them. It counts one when \
it resumes, and never if its client has left, so the figure may be too low. Each is attributed to the level in which \
the queue grew for it, which is not always certain.
waiting | waiting | Requests that wait for a slot in the server's batch; the table shows the peak.
running | running | Requests in the server's running batch.
gpu_busy | GPU utilisation | Share of time in which at least one kernel ran on the busiest GPU, as its exporter \
reports it. A GPU that is always busy may still have room: a larger batch can cost hardly more time.
gpu_clock | GPU clock | Clock of the compute units of the busiest GPU. It falls when the GPU reaches its power or \
temperature limit.
gpu_heat | GPU temperature | Temperature of the hottest GPU, at its hottest sensor.
gpu_memory | GPU memory | Memory in use on the fullest GPU, by all processes; most servers reserve it when they start.
gpu_power | GPU power | Power that the boards of all counted GPUs draw together, as their exporter reports it.
joules | joules per 1,000 tokens | Energy of all counted GPUs in the measured part of the level, idle power included, \
over the output tokens of all users in it, times 1,000.
"""


def terms(
    profile: SloProfile, think_time: Mapping[str, Any] | None = None, who: plurals.Who = "people"
) -> dict[str, Term]:
    """Return all definitions, with the profile's own figures, the run's users and their pauses in them."""
    agents = who == "agents"
    pauses = think_time and not agents and f"pauses {formats.seconds(think_time['mean'])} on average, and asks again"
    shares = {
        "people": who,
        "people_who": "agents that" if agents else "people who",
        "reads": "waits for" if agents else "reads",
        "a_person": "an agent" if agents else "a person",
        "A_person": "An agent" if agents else "A person",
        "and_then": pauses or ("runs tools, and asks again" if agents else "and asks again"),
        "served_share": formats.percent(profile.users.served_share),
        "broken_share": formats.percent(profile.users.broken_share),
        "level_share": formats.percent(profile.level.served_share),
    }
    entries = [line.split(" | ") for line in (_USERS + _FIGURES).format(**shares).strip().splitlines() if line]
    return {key: Term(key, name, meaning) for key, name, meaning in entries}
