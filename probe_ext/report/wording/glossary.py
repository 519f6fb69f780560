"""What every figure on the page means: a sentence or two each, linked from wherever the figure stands."""

from dataclasses import dataclass

from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.values import formats


@dataclass(frozen=True)
class Term:
    """One entry. `key` is its anchor on the page."""

    key: str
    name: str
    meaning: str


_USERS = """
users | users | Simulated people who use the server at the same time: each asks, reads, and asks again.
level | level | A stretch of the run with a constant number of users, less the time it took to settle. A reply belongs \
to the level in which it was sent.
served | served | A user of whom at least {served_share} of the judged replies met every bound of the profile and at \
most {broken_share} broke (none, with fewer than {broken_from} replies).
strained | strained | A user who is neither served nor broken: it works, and the wait is felt.
broken | broken | A user with more broken replies than a served user may have: waits, silences or errors past the \
profile's second bound.
undecided | undecided | A user with fewer than {decided_from} judged replies of which one was strained and none \
broken: too few to say.
unheard | unheard | A user without a judged reply in the level; counted in no share.
open | open replies | Replies that we ended ourselves, because the level or the run was over, before they had met or \
missed a bound; counted in no share.
alone | fine to | The capacity when this dimension alone is judged: the highest measured level at which at least \
{level_share} of the people were served by it.
capacity | capacity | The highest measured number of users at which at least {level_share} of those heard were served.
interval | 95 % interval | Between which numbers the capacity lies: in 95 of 100 runs like this one, an interval so \
made holds it. Stretches of time are drawn again and again from this run, with all their users together; what no level \
measured is not ruled out.
state | result | A level holds when at least {level_share} of its heard users were served. It fails when it would miss \
that even with every undecided user served. Else, or with too few replies, it is unproven.
replies | replies | Replies that were started in the level; every one of them is accounted for.
"""
_FIGURES = """
first_word | first word | The wait from when the user wanted to send to the model's first token, less any lateness of \
our own.
ttft | first word (TTFT) | Time to first token, from sending the request. p50, p95, p99: half, 95 % and 99 % of the \
replies were at least as quick.
typing | typing speed | Tokens a second of one reply after its first token (decode rate, 1/TPOT); the middle value \
(p50) of the level's replies.
silence | longest silence | The longest gap between two successive tokens in the middle of a reply.
gap | gaps between two pieces of text | The time from one piece of a reply's text to the next, as they arrived. A \
piece may carry several tokens. p50, p95, p99: half, 95 % and 99 % of the gaps were at most so long.
itl | inter-token latency (ITL) | A gap over the number of tokens in the piece that ended it: what each token took.
answer | whole answers | Whether the reply came to its own end, with an answer.
cold | cold user | A user whose prompt shares nothing with what the server keeps in its prefix cache.
tokens_per_s | tokens/s in all | Tokens that arrived in the measured part of the level, all users together, over its \
length.
locust_rate | replies a second | Replies that ended in a second, from Locust's own history table: a mean over ten \
seconds that ends two seconds before.
words | words arriving | Each line is one user. A bar is a reply from its first to its last token; an outlined hole is \
a silent pause in its middle.
pause | silent pause | A gap between two tokens of a reply, of at least the profile's bound of silence; or the silence \
as long as that in which a reply died.
silent | silent at once | How many replies were in a silent pause at the same moment: the boundary of silence of the \
profile, or longer, without a token.
team | team | People who have a reply in flight only part of their time, R ÷ (R + Z): R seconds that a reply takes, Z \
seconds to read and think, as given. By Little's law, the replies in flight at the capacity, divided by that part. It \
assumes that they ask independently of each other.
cost | cost | The price of an hour, as given, over what the server does in an hour at its capacity, if kept busy. \
Tokens are those of answers.
overlap | overlap and chance | A pause overlaps a preemption when the server's counter rose between two samples that \
the pause meets. Chance: the same after moving all pauses by a random time, again and again, within each stretch of \
constant users; the mean, and where 95 % of the moves lie. Overlap is evidence, and no proof of a cause.
slo_attainment | SLO attainment | Served replies of all judged ones, failures among them.
goodput_rps | goodput | Served replies a second. In DistServe's sense: the most replies a second at which 90 % of them \
are served.
fluidity_index | fluidity index | The met part of all tokens' deadlines (Etalon): the first token is due within the \
profile's bound for the first word, each further one at its typing speed after the one before. What came early is \
slack for the rest; a late token misses every deadline that passed meanwhile.
fluid_share | fluid replies | Replies whose own fluidity index is at least 0.9.
kv | KV cache | Used part of the memory that running conversations need on the server, as the server reports it about \
once a second; the table gives the peak.
bound | what bounds the server | Rules that each ask one question of the run: does it hold, can it be ruled out, or \
what would it take to know. Each rests on one sign; with two others that agree the confidence is high, with one \
medium, with none low.
wall | the wall by arithmetic | The tokens that the KV cache holds, less what all prompts share, over what a reply \
holds when it ends: its prompt and answer in whole blocks. From those who fit if all end at once to those who fit \
while answers are spread evenly; below it, between which numbers of people the run hit the wall.
edge | the edge | Just before the wall all is calm and the KV cache nearly full. By arithmetic: from those who fit for \
certain, all at the end of their answers at once, to those who fit while answers are spread evenly.
preemptions | preempted | Replies that the server put on hold for want of KV cache, as it counts them. It counts one \
when it resumes, and never if its user left: the figure may be too low. Each is charged to the level in which the \
queue grew for it, which is not always certain.
waiting | waiting | Requests that the server lets wait for a place in its batch; the table gives the peak.
running | running | Requests in the server's running batch.
"""


def terms(profile: SloProfile) -> dict[str, Term]:
    """All definitions, with the profile's own figures in them."""
    shares = {
        "served_share": formats.percent(profile.users.served_share),
        "broken_share": formats.percent(profile.users.broken_share),
        "broken_from": formats.count(profile.users.broken_share_from),
        "decided_from": formats.count(profile.users.decided_from),
        "level_share": formats.percent(profile.level.served_share),
    }
    entries = [line.split(" | ") for line in (_USERS + _FIGURES).format(**shares).strip().splitlines() if line]
    return {key: Term(key, name, meaning) for key, name, meaning in entries}
