"""Interpretations are only of what a run did show."""

from report.causes import nobody


def test_what_is_never_reached_is_not_compared():
    assert nobody([None, None], [None])
    assert not nobody([None, None], [3, None])
