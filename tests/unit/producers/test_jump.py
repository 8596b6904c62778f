"""Tastes that jump on request."""

from __future__ import annotations

import numpy as np
import pytest

from producers.catalogue import unit
from producers.parameters import DEFAULT, load_parameters
from producers.viewers import Viewers


@pytest.fixture
def viewers():
    parameters = load_parameters(DEFAULT).viewers
    return Viewers(parameters, 20, unit(np.random.default_rng(1).normal(size=(8, 16))), seed=1)


def test_after_a_jump_nothing_is_left_of_the_old_taste_and_a_second_jump_goes_on(viewers):
    everyone = np.arange(20)
    before = viewers.tastes(everyone, 10.0)
    viewers.jump(10.0)
    np.testing.assert_allclose((before * viewers.tastes(everyone, 10.0)).sum(axis=1), 0.0, atol=1e-12)
    np.testing.assert_array_equal(viewers.tastes(everyone, 9.9)[:1].shape, (1, 16))
    viewers.jump(20.0)
    late = viewers.tastes(everyone, 20.0)
    assert ((before * late).sum(axis=1) < -0.99).all()
