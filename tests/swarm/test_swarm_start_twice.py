"""Two who press Start at once in the web UI: the second would take the first one's place in mid-preparation."""

from types import SimpleNamespace
from typing import Any

import pytest

from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import read_options
from probe_ext.swarm.master_wiring import MasterWiring


class Preparing(MasterWiring):
    """Somebody else's form comes while one is being taken, and again while the run warms up."""

    def __init__(self) -> None:
        self._preparing = False
        self.refused: list[str] = []
        self.breaks = False

    def _another_form(self) -> None:
        with pytest.raises(SettingsError) as refusal:
            self._take_form(read_options({}), "http://x")
        self.refused.append(str(refusal.value))
        if self.breaks:
            raise SettingsError("no such model")

    def _take(self, *_: Any) -> None:
        self._another_form()

    def _start_run(self) -> None:
        self._another_form()


def test_a_second_form_is_refused_until_the_first_ones_run_has_begun() -> None:
    wiring = Preparing()
    wiring._take_form(read_options({}), "http://x")
    wiring._test_start()
    assert len(wiring.refused) == 2
    assert all("being started already" in why for why in wiring.refused)


def test_a_start_that_came_to_nothing_leaves_the_way_free() -> None:
    wiring = Preparing()
    wiring.breaks = True
    for take in (lambda: wiring._take_form(read_options({}), "http://x"), wiring._test_start):
        with pytest.raises(SettingsError, match="no such model"):
            take()
    assert len(wiring.refused) == 2  # the second was taken, too, before it came to nothing


def test_a_stop_while_the_form_is_being_looked_at_refuses_it() -> None:
    class Stopped(MasterWiring):
        def __init__(self) -> None:
            self._preparing = self._starting = False
            self._ready = None
            self.head = SimpleNamespace(run=None)  # type: ignore[assignment]
            self._starter = SimpleNamespace(ready=lambda *_: self._give_up())  # type: ignore[assignment]

    with pytest.raises(SettingsError, match="stopped before it began"):
        Stopped()._take_form(read_options({}), "http://x")
