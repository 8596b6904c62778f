"""Slates by groups, bounds and integers are those of a plain sort; what the batch holds besides changes nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.explore import explore
from streams.core.hashing import draws, event_keys, seeds_of, uniforms
from streams.core.logits import Drawn, Products, Same, Stacked
from streams.core.positions import TRIES, draw
from streams.core.ranking import Policy, rank, rank_tiles


def plain(logits, allowed, authors, policy):
    """Best first, ties to the lower slot, at most so many of an author, above the threshold or to fill the minimum."""
    order = sorted(np.flatnonzero(np.isfinite(logits)).tolist(), key=lambda slot: (-logits[slot], slot))
    chosen, of_author = [], {}
    for slot in order:
        if len(chosen) == policy.size or not allowed[slot]:
            continue
        if of_author.get(authors[slot], 0) == policy.author_cap:
            continue
        if logits[slot] <= policy.logit and len(chosen) >= policy.minimum:
            continue
        of_author[authors[slot]] = of_author.get(authors[slot], 0) + 1
        chosen.append(slot)
    return chosen


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([1, 5, 40, 600, 1500]), st.integers(1, 3), st.floats(0, 1))
def test_the_best_are_those_of_a_plain_sort(seed, count, cap, hidden):
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(1, 200))
    logits = np.round(rng.normal(size=(rows, count)), int(rng.integers(0, 4))).astype(np.float32)
    logits[rng.random(logits.shape) < 0.01] = rng.choice([np.nan, np.inf, -np.inf, -0.0])
    best_first = np.argsort(np.argsort(-np.nan_to_num(logits), axis=1), axis=1)
    allowed = (rng.random(logits.shape) >= hidden) if rng.random() < 0.5 else best_first >= hidden * count
    authors = rng.integers(0, max(1, count // int(rng.integers(1, 9))), count)
    policy = Policy(size=int(rng.integers(1, 21)), minimum=0, author_cap=cap, exploration=0.0, threshold=0.4)
    ranked = rank(logits.copy(), allowed, authors, policy, seeds_of(0, np.arange(rows)))
    for row, slate in enumerate(ranked):
        wanted = plain(logits[row], allowed[row], authors, policy)
        assert slate.slots.tolist() == wanted
        np.testing.assert_array_equal(slate.logits, logits[row, wanted])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 200), st.sampled_from([0.0, 0.6]))
def test_a_slate_does_not_depend_on_the_batch(seed, cut, temperature):
    rng = np.random.default_rng(seed)
    rows, count = 200, 700
    queries, keys = rng.normal(size=(rows, 6)).astype(np.float32), rng.normal(size=(count, 6)).astype(np.float32)
    bits = np.packbits(rng.random((rows, count)) < rng.random(), axis=1, bitorder="little")
    share = 0.08 if temperature else 0.3
    policy = Policy(size=12, minimum=4, author_cap=2, exploration=share, temperature=temperature)
    authors = rng.integers(0, 40, count)
    seeds = seeds_of(3, np.arange(rows))
    minimum = rng.integers(0, 13, rows)

    def slates(some):
        return rank_tiles(Products(queries[some], keys), count, bits[some], authors, policy, minimum[some], seeds[some])

    whole = slates(np.arange(rows))
    for some in (np.arange(cut), np.arange(cut, rows), rng.permutation(rows)):
        part = slates(some)
        for name in ("slots", "logits", "count", "explored", "chance"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[some])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 90), min_size=4, max_size=4))
def test_orders_ranked_at_once_are_as_each_alone(seed, counts):
    rng = np.random.default_rng(seed)
    rows, count = sum(counts), 300
    keys = rng.normal(size=(2, count, 6)).astype(np.float32)
    queries = rng.normal(size=(rows, 6)).astype(np.float32)
    bits = np.packbits(rng.random((rows, count)) < 0.5, axis=1, bitorder="little")
    authors, policy = rng.integers(0, 40, count), Policy(size=12, author_cap=2, exploration=0.3)
    seeds, minimum = seeds_of(3, np.arange(rows)), rng.integers(0, 13, rows)
    popular = np.round(rng.random(count), 1).astype(np.float32)
    ends = np.cumsum(counts)
    spans = [slice(end - size, end) for end, size in zip(ends, counts, strict=True)]
    parts = [
        Products(queries[spans[0]], keys[0]), Same(popular), Products(queries[spans[2]], keys[1]),
        Drawn(seeds[spans[3]], count),
    ]  # fmt: skip
    together = rank_tiles(Stacked(parts, counts), count, bits, authors, policy, minimum, seeds)
    for part, span in zip(parts, spans, strict=True):
        alone = rank_tiles(part, count, bits[span], authors, policy, minimum[span], seeds[span])
        for name in ("slots", "logits", "count", "explored", "chance"):
            np.testing.assert_array_equal(getattr(alone, name), getattr(together, name)[span])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 40), st.floats(0, 1), st.sampled_from([0.0, 0.3]))
def test_what_is_explored_is_allowed_and_stands_once(seed, count, share, temperature):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(30, count)).astype(np.float32)
    allowed = rng.random(logits.shape) < 0.7
    policy = Policy(size=10, minimum=5, author_cap=2, exploration=share, temperature=temperature)
    for row, slate in enumerate(rank(logits, allowed, np.arange(count) // 3, policy, seeds_of(1, np.arange(30)))):
        slots = slate.slots.tolist()
        assert len(set(slots)) == len(slots) <= policy.size
        assert allowed[row, slots].all()
        assert all(position < len(slots) and 0 < chance <= np.float32(share) for position, chance in slate.explored)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_positions_are_filled_as_if_one_after_the_other(seed, count):
    rng = np.random.default_rng(seed)
    rows, size = 20, 8
    best = np.full((rows, size), -1)
    best[:, :2] = rng.integers(0, count, (rows, 2))
    allowed = rng.random((rows, count)) < 0.8
    seeds = seeds_of(2, np.arange(rows))
    length = rng.integers(0, size + 1, rows)
    drawn = explore(best, length, count, lambda at, slots: allowed[at, slots], 0.6, seeds)
    bits = np.packbits(allowed, axis=1, bitorder="little")
    np.testing.assert_array_equal(draw(best, length, count, bits, 0.6, seeds), drawn)
    flags = (uniforms(draws(seeds, size)) < 0.6) & (np.arange(size) < length[:, None])
    words = draws(seeds, size * (1 + TRIES))
    for row in range(rows):
        taken = set(best[row].tolist())
        for position in range(size):
            tries = words[row, size + position * TRIES : size + (position + 1) * TRIES] % np.uint64(count)
            usable = [slot for slot in tries.tolist() if allowed[row, slot] and slot not in taken]
            wanted = usable[0] if flags[row, position] and usable else -1
            assert drawn[row, position] == wanted
            taken.add(wanted)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=30))
def test_event_keys_depend_on_the_text_alone_and_tell_texts_apart(texts):
    keys = event_keys(texts)
    assert [event_keys([text])[0] for text in texts] == keys.tolist()
    assert len(set(keys.tolist())) == len(set(texts))
