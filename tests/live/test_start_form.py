"""The start form on Locust's page: every option that the web takes is in one place, with its value and its choices."""

import re
from argparse import Namespace
from collections import Counter
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from live_ui import HOSTILE, Someone, Ui
from locust.runners import STATE_RUNNING, STATE_STOPPED

from probe_ext.settings.options import OPTIONS
from probe_ext.swarm import locust_options
from probe_ext.swarm.web import form_fields
from probe_ext.swarm.web.form_fields import StartForm, all_fields, current_values, start_form
from probe_ext.swarm.web.live_json import PastRun
from probe_ext.swarm.web.run_form import field_of

SHOWN = {
    option.name: {"default_value": option.default, "help_text": option.help, "choices": None}
    for option in OPTIONS
    if option.name not in locust_options._NOT_IN_WEB
}


@pytest.fixture
def form(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes the form of given options."""

    def make(shaped: bool = False, more: dict[str, dict[str, Any]] | None = None, **given: Any) -> StartForm:
        monkeypatch.setattr(form_fields, "ui_extra_args_dict", lambda _: {**SHOWN, **(more or {})})
        return start_form(Namespace(**given), "http://x", shaped=shaped)

    return make


def named(form: StartForm) -> dict[str, form_fields.Field]:
    return {field.name: field for field in all_fields(form)}


def test_every_option_of_the_web_is_in_one_place(form: Any) -> None:
    places = Counter(field.name for field in all_fields(form()))
    assert set(places.values()) == {1}
    assert set(SHOWN) - set(places) == {"search"}, "a mode stands for it"
    assert set(places) - set(SHOWN) == {"host", "user_count", "spawn_rate", "run_time"}


def test_choices_are_choices(form: Any) -> None:
    fields = named(form(slo="batch"))
    assert fields["api"].choices == ("chat", "completion", "responses", "messages")
    assert fields["usage"].kind == "choice"
    assert fields["slo"].value == "batch"
    assert {"chat", "batch", "coding-assistant"} <= set(fields["slo"].choices)
    assert fields["workload"].choices[0] == "", "none"
    assert fields["insecure"].kind == "flag"


def test_offers_the_file_that_it_was_started_with(form: Any) -> None:
    locust_options.offer_files(Namespace(slo="mine.yaml", workload=None))
    try:
        assert named(form())["slo"].choices[0] == "mine.yaml"
    finally:
        locust_options.offer_files(Namespace(slo=None, workload=None))
    assert "mine.yaml" not in named(form())["slo"].choices


@pytest.mark.parametrize(
    ("given", "mode"),
    [({}, "hand"), ({"levels": "1,2"}, "levels"), ({"rate": "2"}, "rate"), ({"search": True}, "search")],
)
def test_the_mode_follows_from_the_options(form: Any, given: dict[str, Any], mode: str) -> None:
    made = form(**given)
    assert made.mode == mode
    assert current_values(made)["search"] is (mode == "search")


def test_the_form_asks_for_the_server_first_and_says_what_each_way_does(form: Any) -> None:
    made = form()
    assert [group.title for group in made.groups][:2] == ["The server", "What is asked"]
    assert made.modes[0].name == "search"
    assert "as “probe run” does" in made.modes[0].help
    page = index(Ui())
    assert page.index("<legend>The server</legend>") < page.index("<legend>How many, how long</legend>")
    assert page.index("<legend>How many, how long</legend>") < page.index("<legend>What is asked</legend>")
    shown = page.partition('class="modes">')[2].partition("</div>")[0]
    assert all(mode.help in unescape(shown) for mode in made.modes), "without choosing it first"


def test_the_tab_names_the_tool_and_the_scenario() -> None:
    ui = Ui()
    ui.environment.locustfile = "/x/<capacity>.py"
    assert re.findall("<title>(.*?)</title>", index(ui)) == ["probe: &lt;capacity&gt; – Locust"]
    assert "<title>probe: live view</title>" in ui.client.get("/probe/").get_data(as_text=True)


def test_a_load_shape_of_the_locustfile_decides_by_itself(form: Any) -> None:
    hand = next(mode for mode in form(shaped=True).modes if mode.name == "hand")
    assert [field.name for field in hand.fields] == ["run_time"]


def test_shows_the_locustfiles_own_options_and_hides_its_secrets(form: Any) -> None:
    own = {
        "tenant": {"default_value": "a", "help_text": "which tenant", "choices": ["a", "b"]},
        "pin": {"default_value": "", "help_text": "", "choices": None, "is_secret": True},
    }
    made = form(more=own, tenant="b", pin="1234")
    group = made.groups[-1]
    assert [(field.name, field.kind, field.value) for field in group.fields] == [
        ("tenant", "choice", "b"),
        ("pin", "secret", "1234"),
    ]
    assert "pin" not in current_values(made)


def test_repeated_options_have_an_entry_a_line(form: Any) -> None:
    field = named(form(header='["A: 1", "B: [2]"]'))["header"]
    assert (field.kind, field.value) == ("lines", "A: 1\nB: [2]")


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("--levels 8,x: is not valid", "levels"),
        ("--timeout-gap soon: invalid duration", "timeout_gap"),
        ("host: cannot be changed during a run", "host"),
        ("--api chat: no such page", None),
        ("the last run is still being closed", None),
        ("", None),
    ],
)
def test_says_which_field_a_message_is_about(message: str, field: str | None) -> None:
    assert field_of(message, {"levels", "timeout_gap", "host"}) == field


def index(ui: Ui) -> str:
    return str(ui.client.get("/").get_data(as_text=True))


def test_is_on_locusts_page_until_there_is_a_run() -> None:
    ui = Ui()
    ui.environment.locustfile = "/x/capacity.py"
    page = index(ui)
    assert '<body class="probe-form">' in page
    assert page.count('id="probe-form"') == page.count('id="probe-bar"') == 1
    assert "position:fixed" not in page, "nothing is covered"
    assert "Start a run of capacity" in page
    ui.environment.runner.state = STATE_STOPPED  # as that of a master whose workers have joined
    assert '<body class="probe-form">' in index(ui)
    ui.environment.runner.stats.total.num_requests = 1
    assert '<body class="">' in index(ui)
    ui.environment.runner.state = STATE_RUNNING
    assert '<body class="">' in index(ui)


def test_locusts_own_form_remains_where_classes_are_picked() -> None:
    ui = Ui()
    ui.environment.web_ui.userclass_picker_is_active = True
    assert '<body class="probe-own">' in index(ui)


def test_nothing_given_becomes_markup() -> None:
    ui = Ui()
    ui.environment.host = ui.environment.locustfile = HOSTILE
    added = index(ui).partition("window.templateArgs")[2].partition("\n")[2]
    assert HOSTILE not in added
    assert HOSTILE in unescape(added)


def test_shows_the_host_that_the_locustfile_names() -> None:
    ui = Ui()
    ui.environment.host = None
    ui.environment.user_classes = [type("Theirs", (Someone,), {"host": "http://theirs:8000"})]
    assert 'value="http://theirs:8000"' in index(ui)


def test_edit_starts_from_the_users_that_are_wanted() -> None:
    ui = Ui()
    ui.environment.runner.state, ui.environment.runner.target_user_count = STATE_RUNNING, 40
    assert re.search(r'"user_count":40\b', index(ui))


@pytest.mark.parametrize(
    ("report", "why"),
    [("none", "made when the run has ended"), ("making", "is being made"), ("failed", "could not be made")],
)
def test_says_on_a_page_why_there_is_no_report(tmp_path: Path, report: Any, why: str) -> None:
    ui = Ui()
    newest = ui.client.get("/probe/runs/newest/capacity.html")
    assert (newest.status_code, newest.mimetype) == (404, "text/html")
    ui.view.past.append(PastRun(1, tmp_path, "capacity", "", report=report))
    page = ui.client.get("/probe/runs/1/capacity.html")
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert why in page.get_data(as_text=True)
    assert '<meta http-equiv="refresh"' in page.get_data(as_text=True)
    assert ui.client.get("/probe/runs/1/requests.csv").mimetype == "text/plain"


def test_says_why_the_first_run_did_not_start() -> None:
    ui = Ui()
    ui.view.refused("--model x: is not listed")
    said = ui.client.get("/probe/live.json").get_json()["said"]
    assert said["headline"] == "The run did not start."
    assert said["below"] == "--model x: is not listed"
