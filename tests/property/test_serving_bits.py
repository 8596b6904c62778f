"""A row's bits do not depend on the batch around it: any permutation, any cut, any company."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import ModelConfig
from model.serving import NumpyScorer
from streams.core.behaviour import BEHAVIOUR_SIZE
from tests.versions import clip, grown

CONFIGS = [
    ModelConfig(hidden_size=64, embedding_size=32, category_size=16),
    ModelConfig(hidden_size=64, embedding_size=32, category_size=16, memory=True),
    ModelConfig(hidden_size=13, embedding_size=7, category_size=5, memory=True),
    ModelConfig(hidden_size=13, embedding_size=7, category_size=5),  # nothing is a multiple of a vector register
    ModelConfig(head="concat", hidden_size=10, embedding_size=6, category_size=3),
]
SCORERS = [NumpyScorer(grown(config, seed), config, 1, 0) for seed, config in enumerate(CONFIGS)]
ROWS = 200


def inputs(scorer):
    rng = np.random.default_rng(5)
    return (
        rng.uniform(-1, 1, (ROWS, scorer.hidden_size)).astype(np.float32),
        np.tanh(rng.normal(size=(ROWS, scorer.embedding_size))).astype(np.float32),
        rng.uniform(0, 1, (ROWS, BEHAVIOUR_SIZE)).astype(np.float32),
    )


INPUTS = [inputs(scorer) for scorer in SCORERS]
VIDEOS = [clip(number) for number in range(ROWS)]
WHOLE = [
    (scorer.step(*given_), scorer.queries(given_[0]), *scorer.encode(VIDEOS))
    for scorer, given_ in zip(SCORERS, INPUTS, strict=True)
]

orders = st.permutations(range(ROWS))
cuts = st.lists(st.integers(1, ROWS - 1), max_size=6, unique=True).map(sorted)


@settings(max_examples=25, deadline=None)
@given(which=st.sampled_from(range(len(SCORERS))), order=orders, cut=cuts, size=st.integers(1, ROWS))
def test_any_order_and_any_cut_give_the_same_bits(which, order, cut, size):
    scorer, (hidden, vectors, behaviour) = SCORERS[which], INPUTS[which]
    step, queries, video_vectors, keys = WHOLE[which]
    chosen = np.array(order[:size])
    for part in np.split(chosen, [at for at in cut if at < size]):
        np.testing.assert_array_equal(scorer.step(hidden[part], vectors[part], behaviour[part]), step[part])
        np.testing.assert_array_equal(scorer.queries(hidden[part]), queries[part])
        found = scorer.encode([VIDEOS[at] for at in part])
        np.testing.assert_array_equal(found[0], video_vectors[part])
        np.testing.assert_array_equal(found[1], keys[part])


@pytest.mark.parametrize("which", range(len(SCORERS)))
def test_one_row_alone_has_the_bits_it_has_in_a_batch(which):
    scorer, (hidden, vectors, behaviour) = SCORERS[which], INPUTS[which]
    for row in range(0, ROWS, 7):
        one = slice(row, row + 1)
        np.testing.assert_array_equal(scorer.step(hidden[one], vectors[one], behaviour[one]), WHOLE[which][0][one])
        np.testing.assert_array_equal(scorer.queries(hidden[one]), WHOLE[which][1][one])
        np.testing.assert_array_equal(scorer.encode(VIDEOS[row : row + 1])[1], WHOLE[which][3][one])
