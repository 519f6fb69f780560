"""Combining engines that are sampled at different moments: the latest sample of each, without stale ones."""

import numpy as np

from probe_ext.verdict.server.server_series import Series, combine


def series(*samples: tuple[float, float]) -> Series:
    t, value = zip(*samples, strict=True)
    return Series(np.array(t, dtype=float), np.array(value, dtype=float))


def test_engines_sampled_in_turn_are_summed_at_every_moment() -> None:
    one, two = series((0, 4), (10, 6), (20, 8)), series((5, 1), (15, 2), (25, 3))
    moments, values = combine([one, two])
    assert moments.tolist() == [0, 5, 10, 15, 20, 25]
    assert values.tolist() == [4, 5, 7, 8, 10, 11]


def test_the_maximum_on_request() -> None:
    one, two = series((0, 0.4), (10, 0.9)), series((5, 0.6), (15, 0.2))
    assert combine([one, two], fullest=True)[1].tolist() == [0.4, 0.6, 0.9, 0.9]


def test_a_stale_engine_is_left_out() -> None:
    one, two = series(*((t, 3) for t in range(20))), series((0, 5), (1, 5), (2, 5))
    moments, values = combine([one, two])
    held = dict(zip(moments.tolist(), values.tolist(), strict=True))
    assert (held[2], held[7], held[8], held[19]) == (8, 8, 3, 3)


def test_without_engines_there_is_nothing() -> None:
    assert [part.tolist() for part in combine([])] == [[], []]
