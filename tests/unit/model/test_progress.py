from model.progress import Journal, Through


def journal():
    found = Journal(Through(100, {0: 60, 1: 40}, 5_000))
    for number, (partition, offset, at_ms) in enumerate(
        [(0, 60, 6_000), (1, 40, 6_500), (0, 61, 6_200), (2, 0, 7_000)]
    ):
        found.note(201 + number, partition, offset, at_ms)
    return found


def test_a_cut_says_how_far_each_partition_is_learned_from():
    assert journal().upto(203) == Through(103, {0: 62, 1: 41}, 6_500)


def test_a_cut_before_everything_changes_nothing():
    assert journal().upto(200) == Through(100, {0: 60, 1: 40}, 5_000)


def test_what_is_learned_is_not_counted_again():
    found = journal()
    found.learned(202)
    assert found.through == Through(102, {0: 61, 1: 41}, 6_500)
    found.learned(204)
    assert found.through == Through(104, {0: 62, 1: 41, 2: 1}, 7_000)
    found.learned(204)
    assert found.through.records == 104


def test_a_refused_round_leaves_its_records_for_the_next():
    found = journal()
    assert found.upto(202) == found.upto(202)
    assert found.upto(204).records == 104
