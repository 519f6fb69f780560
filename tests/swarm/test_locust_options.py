"""Options on Locust's command line, in the environment and the web form; what `probe run` passes to Locust."""

import socket
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from locust.argument_parser import LocustArgumentParser, get_parser, ui_extra_args_dict

from probe_ext import cli
from probe_ext.access.scenario import find_locustfile
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import OPTIONS, read_options
from probe_ext.swarm.commands import run_command, ui_command
from probe_ext.swarm.link.bound_addresses import listen_problem
from probe_ext.swarm.locust_options import add_options, finds_host, is_open_ended, open_web_ui


def parsed(*arguments: str) -> dict[str, Any]:
    parser = LocustArgumentParser(default_config_files=[])
    add_options(parser)
    return vars(parser.parse_args(list(arguments)))


def test_locust_has_every_option_with_its_default() -> None:
    found = parsed()
    assert {option.name: found[option.name] for option in OPTIONS} == {o.name: o.default for o in OPTIONS}
    assert read_options(found) == read_options({})


def test_every_option_can_be_set_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for option in OPTIONS:
        monkeypatch.setenv(option.variable, "true" if option.default is False else f"value of {option.name}")
    found = parsed()
    for option in OPTIONS:
        text = f'["value of {option.name}"]' if option.repeatable else f"value of {option.name}"
        assert found[option.name] == (True if option.default is False else text)
    assert parsed("--hold", "7s")["hold"] == "7s"  # the command line goes first


def test_a_repeated_option_collects_all_values(monkeypatch: pytest.MonkeyPatch) -> None:
    options = read_options(parsed("--header", "X-A: 1", "--header=X-B:2", "--body", '{"top_k": 1}'))
    assert (options.header, options.body) == (("X-A: 1", "X-B: 2"), '{"top_k":1}')
    monkeypatch.setenv("PROBE_HEADER", "X-A: 1\nX-B: 2")
    monkeypatch.setenv("PROBE_HEADER_ENV", '["X-C=C", "X-D=D"]')
    options = read_options(parsed())
    assert (options.header, options.header_env) == (("X-A: 1", "X-B: 2"), ("X-C=C", "X-D=D"))
    assert read_options(parsed("--header", "X-E: 5")).header == ("X-E: 5",)


def test_no_option_holds_a_secret() -> None:
    named = [option for option in OPTIONS if any(word in option.name for word in ("key", "password", "passphrase"))]
    assert [option.name for option in named] == ["tls_client_key"], "the path of a file, not what it contains"
    assert [option.metavar for option in named] == ["FILE"]


def test_web_form_omits_options_about_files() -> None:
    parser = LocustArgumentParser(default_config_files=[])
    add_options(parser)
    shown = set(parser.args_included_in_web_ui)
    names = {option.name for option in OPTIONS}
    assert shown & names == names - {
        *("metrics_url", "gpu_metrics", "prometheus", "prometheus_match", "out", "force", "no_report"),
        *("fail_under_users", "fail_under_rate", "fail_over", "baseline", "margin"),
        *("tls_ca", "tls_client_cert", "tls_client_key"),
        "header_env",
        "workload",  # only for a locustfile that takes one
    }
    assert {"levels", "hold", "model", "input_tokens"} <= shown


def test_locust_finds_our_options_for_its_form() -> None:
    import probe_ext.swarm.listeners  # noqa: F401, PLC0415 - adds the options to Locust's parser

    form = ui_extra_args_dict([])
    assert form["hold"]["default_value"] == "30s"
    assert not form["hold"]["is_secret"]
    assert "out" not in form
    group = next(group for group in get_parser([])._action_groups if "probe-ext" in str(group.title))
    assert {action.dest for action in group._group_actions} == {option.name for option in OPTIONS}


def test_option_names_do_not_clash_with_locusts() -> None:
    from locust.argument_parser import setup_parser_arguments  # noqa: PLC0415

    plain = LocustArgumentParser(default_config_files=[])
    setup_parser_arguments(plain)
    assert not {action.dest for action in plain._actions} & {option.name for option in OPTIONS}


def given(*arguments: str) -> tuple[dict[str, object], list[str]]:
    parser = ArgumentParser(allow_abbrev=False)
    run_command.add_arguments(parser)
    options, rest = parser.parse_known_args(list(arguments))
    return {name: value for name, value in vars(options).items() if value is not None}, rest


def test_probe_run_passes_options_to_locust_unchanged() -> None:
    options, rest = given(
        "capacity", "--host", "http://x", "--levels", "1,2", "--temperature", "-1", "--no-stream", "--processes", "4"
    )
    line = run_command.locust_arguments(Path("capacity.py"), options, rest)
    assert line[: line.index("--loglevel")] == [
        *("-f", "capacity.py", "--headless", "--only-summary", "--exit-code-on-error", "0")
    ]
    assert line[line.index("--host") + 1] == "http://x"
    assert {"--levels=1,2", "--temperature=-1", "--no-stream"} <= set(line)
    assert line[-2:] == ["--processes", "4"]
    assert not [part for part in line if part.startswith(("--hold", "--out", "--force"))]  # Locust has the defaults


def test_keeps_the_users_log_level() -> None:
    for own in (["--loglevel", "INFO"], ["-L", "DEBUG"], ["--loglevel=INFO"]):
        line = run_command.locust_arguments(Path("capacity.py"), {}, own)
        assert "WARNING" not in line
        assert line[-len(own) :] == own


def test_finds_a_scenario_by_name_or_file(tmp_path: Path) -> None:
    assert find_locustfile("capacity").name == "capacity.py"
    own = tmp_path / "mine.py"
    own.write_text("")
    assert find_locustfile(str(own)) == own
    with pytest.raises(SettingsError, match=r"^gone\.py: no such file"):
        find_locustfile("gone.py")
    said = r"capcity: unknown scenario \(did you mean capacity\?\); valid names are baseline, capacity, chat, "
    with pytest.raises(SettingsError, match=said):
        find_locustfile("capcity")
    with pytest.raises(SettingsError, match=r"^agent: unknown scenario; agent is an SLO profile: --slo agent; valid "):
        find_locustfile("agent")
    with pytest.raises(SettingsError, match=r"^coding: unknown scenario; coding is a workload: --workload coding; val"):
        find_locustfile("coding")
    with pytest.raises(SettingsError, match=r"^mine\.yaml: not a scenario; give a workload as --workload mine\.yaml"):
        find_locustfile("mine.yaml")


@pytest.mark.parametrize(
    ("rest", "scenario", "left"),
    [
        (["capacity", "-u", "4"], "capacity", ["-u", "4"]),
        (["-u", "4", "capacity"], "capacity", ["-u", "4"]),
        (["--processes", "4", "mine.py"], "mine.py", ["--processes", "4"]),
        (["--processes", "4"], None, ["--processes", "4"]),
        ([], None, []),
    ],
)
def test_the_scenario_is_never_the_value_of_one_of_locusts_options(
    rest: list[str], scenario: str | None, left: list[str]
) -> None:
    assert run_command.take_scenario(rest, None) == scenario
    assert rest == left


def test_a_workload_needs_no_scenario() -> None:
    assert run_command.take_scenario(["--processes", "4", "chat"], "coding") == "workload"
    assert run_command.take_scenario(["capacity"], "coding") == "workload", "which asks the same, of other users"
    assert run_command.take_scenario(["chat"], "coding") == "chat", "whose locustfile then refuses the workload"


@pytest.mark.parametrize(
    ("line", "variables", "searches"),
    [
        ("", {}, True),
        ("--host http://x --processes 4 --max-tokens 64", {}, True),
        ("--levels 1,2", {}, False),
        ("--search", {}, False),  # as it always was, with longer levels
        ("-u 4 -t 1m", {}, False),
        ("--run-time=1m", {}, False),
        ("", {"PROBE_RATE": "2"}, False),
        ("", {"LOCUST_USERS": "2"}, False),
        ("capacity", {}, False),
        ("--workload coding", {}, False),
        ("", {"PROBE_WORKLOAD": "coding"}, False),
    ],
)
def test_a_run_of_which_nothing_is_said_searches(
    line: str, variables: dict[str, str], searches: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    parser = ArgumentParser(allow_abbrev=False)
    run_command.add_arguments(parser)
    options, options.rest = parser.parse_known_args(line.split())
    started: list[Namespace] = []

    def run_locust(arguments: list[str], locustfile: Path, set_defaults: Callable[[Any], None]) -> int:
        of_locust = ArgumentParser()
        set_defaults(of_locust)
        started.append(Namespace(**vars(of_locust.parse_args([])), file=locustfile.name))
        return 0

    monkeypatch.setattr(run_command, "run_locust", run_locust)
    assert run_command.main(options) == 0
    assert finds_host(started[0])
    assert getattr(started[0], "search", False) is searches
    assert started[0].file == ("workload.py" if "coding" in f"{line}{variables}" else "capacity.py")


@pytest.mark.parametrize(
    ("line", "variables", "terminals", "goes_on"),
    [
        ("", {}, "both", True),
        ("--search-time 2h", {}, "both", True),
        ("", {}, "stdin", False),
        ("", {}, "stderr", False),
        ("", {"CI": "true"}, "both", False),
        ("--precision 5%", {}, "both", False),
        ("--fail-under-users 4", {}, "both", False),
        ("--baseline before", {}, "both", False),
        ("", {"PROBE_PRECISION": "5%"}, "both", False),
        ("--search", {}, "both", False),
        ("capacity", {}, "both", False),
    ],
)
def test_a_search_by_default_goes_on_where_someone_watches_and_has_named_no_goal(
    line: str, variables: dict[str, str], terminals: str, goes_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for stream in ("stdin", "stderr"):
        shown = SimpleNamespace(isatty=lambda there=terminals in ("both", stream): there)
        monkeypatch.setattr(run_command.sys, stream, shown)
    parser = ArgumentParser(allow_abbrev=False)
    run_command.add_arguments(parser)
    options, options.rest = parser.parse_known_args(line.split())
    of_locust = ArgumentParser()
    monkeypatch.setattr(run_command, "run_locust", lambda _line, _file, set_defaults: set_defaults(of_locust) or 0)
    assert run_command.main(options) == 0
    defaults = of_locust.parse_args([])
    assert is_open_ended(defaults) is goes_on
    assert getattr(defaults, "search_time", None) == ("1h" if goes_on else None)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--levels", ""), "--levels '': must not be empty (e.g. 1,2,4,8)"),
        (("capacity", "--levels", " "), "--levels ' ': must not be empty (e.g. 1,2,4,8)"),
        (("--rate=",), "--rate '': must not be empty (e.g. 0.5,2,4)"),
        (
            ("--levels", "1", "--search-time", "5m"),
            "--search-time 5m: cannot be combined with --levels; it needs --search",
        ),
        (("--rate", "1", "--max-users", "9"), "--max-users 9: cannot be combined with --rate; it needs --search"),
        (("--levels=1", "--precision=5%"), "--precision 5%: cannot be combined with --levels; it needs --search"),
    ],
)
def test_loads_that_would_be_ignored_are_refused(
    arguments: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = ArgumentParser(allow_abbrev=False)
    run_command.add_arguments(parser)
    options, options.rest = parser.parse_known_args(arguments)
    assert run_command.main(options) == 2
    assert capsys.readouterr().err == f"probe: {why}\n"


def test_an_empty_field_or_variable_means_no_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBE_LEVELS", "")
    assert read_options(parsed("--search-time", "5m")).levels is None
    assert read_options({"levels": "", "rate": " "}).plan is None


def test_probe_ui_serves_the_web_ui_on_loopback_unless_another_address_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def web_host(*arguments: str) -> Any:
        parser = get_parser()
        open_web_ui(parser)
        return parser.parse_args(list(arguments)).web_host

    assert web_host() == "127.0.0.1"
    assert web_host("--web-host", "10.0.0.5") == "10.0.0.5"
    monkeypatch.setenv("LOCUST_WEB_HOST", "10.0.0.6")
    assert web_host() == "10.0.0.6"


def test_probe_ui_starts_locust_with_a_web_ui_for_a_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(ui_command, "run_locust", lambda arguments, *_: started.append(arguments) or 0)
    for line in ("", "chat --host http://x --web-port 8090"):
        parser = ArgumentParser(allow_abbrev=False)
        ui_command.add_arguments(parser)
        options, options.rest = parser.parse_known_args(line.split())
        assert ui_command.main(options) == 0
    assert [Path(arguments[1]).name for arguments in started] == ["capacity.py", "chat.py"]
    assert started[1][2:] == ["--loglevel", "WARNING", "--host", "http://x", "--web-port", "8090"]


def test_a_port_in_use_is_named_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        said = listen_problem("127.0.0.1", port)
    assert said == f"--web-port {port}: already in use; choose another, e.g. --web-port {port + 1}"
    assert listen_problem("127.0.0.1", port) is None
    assert str(listen_problem("203.0.113.7", port)).startswith("--web-host 203.0.113.7: the web UI cannot listen there")


def test_caches_locusts_defaults() -> None:
    """Without the cache, Locust builds its parser a hundred times per spawn message."""
    from locust import argument_parser  # noqa: PLC0415 - loads Locust

    from probe_ext.swarm.worker_wiring import _cache_locust_defaults  # noqa: PLC0415 - as above

    before = argument_parser.default_args_dict
    try:
        _cache_locust_defaults()
        assert argument_parser.default_args_dict() is argument_parser.default_args_dict()
        assert argument_parser.default_args_dict() == before()
    finally:
        argument_parser.default_args_dict = before


def error_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, *given: str) -> str:
    """What Locust's parser says of these arguments, as `probe run` and `probe ui` set it up."""
    parser = get_parser()
    parser.error = run_command._error_handler(parser, command)
    run_command._check_user_classes(parser, Path("capacity.py"))
    monkeypatch.setattr(run_command.sys, "argv", ["locust", *given])
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(list(given))
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_wrong_locust_options_are_said_by_the_command_that_was_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = error_of(monkeypatch, capsys, "ui", "--web-prot", "8")
    assert said == (
        "probe ui: unknown option --web-prot 8 (did you mean --web-port?); see probe ui --help and locust --help\n"
    )


@pytest.mark.parametrize(("short", "option"), [("--level", "--levels"), ("--run-tim", "--run-time")])
def test_a_misspelt_option_is_not_taken_for_the_one_that_it_begins(
    short: str, option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"unknown option {short} 3 (did you mean {option}?)" in error_of(monkeypatch, capsys, "run", short, "3")


@pytest.mark.parametrize("given", [("--api-key", "sk-1"), ("--api-key=sk-1",), ("--token", "sk-1")])
def test_an_api_key_as_option_points_to_the_variable_and_is_not_repeated(
    given: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = error_of(monkeypatch, capsys, "run", *given)
    with pytest.raises(SystemExit):
        cli.main(["doctor", "http://127.0.0.1:9", *given])
    for text in (said, capsys.readouterr().err):
        assert "the API key is read from the environment variable PROBE_API_KEY" in text
        assert "sk-1" not in text
        assert text.count("\n") == 1


def test_a_second_scenario_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = error_of(monkeypatch, capsys, "run", "--host", "http://x", "chat")
    assert "chat: not a user class (capacity.py defines " in said
    assert said.count("\n") == 1


def test_the_simulated_servers_key_is_another(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["sim", "--api-key", "sk-1"])
    said = capsys.readouterr().err
    assert "--api-key: not an option; name a variable that holds it with --api-key-env" in said
    assert "sk-1" not in said
