"""What is held when, if requests arrive in an open stream: by --rate, or by the rate series of a workload."""

from pathlib import Path

from probe_ext.load.level_plan import MAX_RATE, MIN_LEVEL_S, LevelPlan
from probe_ext.load.series_plan import RateStep, SeriesPlan
from probe_ext.measure.rate import Rate
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options, Plan
from probe_ext.settings.slo import SloProfile
from probe_ext.swarm.users.kind_dispatcher import mix_of
from probe_ext.verdict.grading.kind_profiles import KindProfiles
from probe_ext.workload.arrival_times import FORMS, ArrivalForm, Form
from probe_ext.workload.rate_series import read_series
from probe_ext.workload.trace_load import passes_of
from probe_ext.workload.traces.replay_times import Pass
from probe_ext.workload.traces.trace import Trace
from probe_ext.workload.traces.trace_lines import TraceError
from probe_ext.workload.workload_file import Workload

_GIVE_UP_S = 10.0  # on an arrival without a free slot, where the profile does not judge the first word
USERS, SERIES, TRACE = "users", "series", "trace"
MIN_PASS_S = MIN_LEVEL_S + 1.0  # beside the settling time


def is_open_stream(workload: Workload | None) -> bool:
    """Tell whether a workload's requests arrive whether or not earlier ones have been answered."""
    return workload is not None and workload.arrivals.form != USERS


def plan_of(options: Options, workload: Workload | None, context: int | None = None) -> Plan | None:
    """Return what the run holds: levels, rates, a search, or a workload's series or trace; None if none was requested.

    `context`: the model's, in tokens, once it is known: longer requests of a trace are left out. SettingsError if the
    options do not fit the workload.
    """
    if workload is not None and options.rate and workload.trace is not None:
        raise SettingsError(f"--rate: the workload {workload.name} replays a trace; give trace.speed in its file")
    if workload is not None and (options.rate or is_open_stream(workload)):
        _check_kinds(workload, options)
    if options.rate and workload is not None and workload.has_hosts:  # none of the servers decides how long for all
        return SeriesPlan(tuple(RateStep(rate, options.settle + options.hold) for rate in options.rate), options.settle)
    if options.rate or workload is None or not is_open_stream(workload):
        return options.plan
    if options.levels or options.search:
        flag = "--search" if options.search else f"--levels {','.join(map(str, options.levels or ()))}"
        raise SettingsError(f"{flag}: {_of(workload)}, which has no number of users; use --rate")
    if workload.arrivals.form == TRACE:
        return SeriesPlan(tuple(_step(one, options, workload) for one in replays(workload, context)), options.settle)
    if workload.arrivals.form != SERIES:
        raise SettingsError(f"--rate: is missing; {_of(workload)}, and --rate says how many requests per second")
    return SeriesPlan(_steps(workload), options.settle)


def form_of(workload: Workload | None) -> ArrivalForm:
    """Return how the gaps between a run's arrivals are distributed: as the workload says, else at random (Poisson)."""
    arrivals = workload.arrivals if workload else None
    form: Form = next((one for one in FORMS if arrivals is not None and one == arrivals.form), "poisson")
    cv = arrivals.cv if arrivals is not None and arrivals.cv is not None else 1.0
    return ArrivalForm(form, cv)


def kinds_of(workload: Workload | None) -> dict[str, float]:
    """Return the share of each kind among the arrivals; empty without kinds to choose from."""
    shares = {name: share for name, share in workload.shares.items() if share} if workload else {}
    return shares if len(shares) > 1 else {}


def slots_of(options: Options, workload: Workload | None) -> int:
    """Return how many connections an open stream has: --max-in-flight, to each host of a workload that names some."""
    hosts = len(workload.kinds) if workload is not None and workload.has_hosts else 1
    return options.max_in_flight * hosts


def give_up_times(profiles: KindProfiles) -> tuple[float, dict[str, float]]:
    """Return after how many seconds an arrival without a free connection is given up: as a rule, and for each kind.

    An arrival waits as long as a first word may take by the profile that judges it.
    """
    of_kinds = {kind.name: _give_up(kind.profile) for kind in profiles.stated if kind.share != 0}
    if len(of_kinds) == 1:  # arrivals are then of no stated kind: there is nothing to choose from
        return next(iter(of_kinds.values())), {}
    return _give_up(profiles.default), of_kinds


def _give_up(profile: SloProfile) -> float:
    return profile.first_word.strained if profile.first_word else _GIVE_UP_S


def rates_of(plan: Plan | None) -> tuple[Rate, ...]:
    """Return the rates that a plan holds; none of users who wait for replies."""
    if isinstance(plan, LevelPlan | SeriesPlan) and plan.by_rate:
        return tuple(Rate(level) for level in plan.levels)
    return ()


def _of(workload: Workload) -> str:
    return f"the workload {workload.name} is an open stream of requests ({workload.arrivals.form})"


def replays(workload: Workload | None, context: int | None) -> tuple[Pass, ...]:
    """Return the replays of a workload's trace at its recorded times; none without one. SettingsError if it is bad."""
    if workload is None or workload.trace is None or workload.arrivals.form != TRACE:
        return ()
    trace = open_trace(workload, context)
    try:
        return passes_of(workload.trace, trace)
    except TraceError as error:
        raise _trace_refused(workload, error) from error


def open_trace(workload: Workload, context: int | None = None) -> Trace:
    """Return a workload's trace, less what does not fit the model's context. SettingsError if it is bad."""
    assert workload.trace is not None  # noqa: S101 -- by the caller
    try:
        return workload.trace.open(context)
    except TraceError as error:
        raise _trace_refused(workload, error) from error


def _trace_refused(workload: Workload, error: TraceError) -> SettingsError:
    return SettingsError(f"workload {workload.name}: trace.file: {error}")


def _step(one: Pass, options: Options, workload: Workload) -> RateStep:
    """Return a replay as a level: its mean rate, for its duration. SettingsError if no level can be made of it."""
    where = f"workload {workload.name}: trace.speed: {one.speed:g}"
    least = options.settle + MIN_PASS_S
    if one.seconds < least:
        raise SettingsError(
            f"{where}: the trace then lasts {one.seconds:.1f} s; it must last at least {least:g} s (--settle)"
        )
    if not 0.001 <= one.rate <= MAX_RATE:
        raise SettingsError(f"{where}: {one.rate:.2g} requests/s: must be 0.001 to {MAX_RATE:,.0f}")
    return RateStep(Rate.of(one.rate), one.seconds)


def _steps(workload: Workload) -> tuple[RateStep, ...]:
    arrivals = workload.arrivals
    try:
        return read_series(Path(arrivals.file or ""), arrivals.rate_scale, arrivals.time_scale)
    except ValueError as error:
        raise SettingsError(f"workload {workload.name}: arrivals.series.file: {arrivals.file}: {error}") from error


def _check_kinds(workload: Workload, options: Options) -> None:
    """SettingsError if a kind has a fixed number of users, or would have no connection."""
    fixed = next((kind for kind in workload.kinds if kind.users is not None), None)
    if fixed is not None:
        raise SettingsError(
            f"--rate: the kind {fixed.name} of the workload {workload.name} has a fixed number of users, which an open "
            "stream does not have; give it a share"
        )
    if workload.has_hosts:  # each has as many connections
        return
    shares = {name: share for name, share in workload.shares.items() if share}
    without = [name for name, slots in mix_of(options.max_in_flight, shares, {}).items() if not slots]
    if without:
        raise SettingsError(f"--max-in-flight {options.max_in_flight}: leaves no connection for the kind {without[0]}")
