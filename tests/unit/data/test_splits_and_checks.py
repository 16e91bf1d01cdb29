"""Splits that leak nothing, fingerprints, label spaces, and what is said before training."""

import random
from collections import Counter

import numpy as np
import pytest

from headwater.data import (
    LabelSpace,
    PairExample,
    RowProblem,
    TextExample,
    check_examples,
    fingerprint,
    split_grouped,
    split_stratified,
)
from headwater.errors import HeadwaterError


def examples(sizes: dict[str, int]) -> list[TextExample]:
    return [
        TextExample(f"{label} text {n}", (label,), None, f"a.csv:{n}")
        for label, size in sizes.items()
        for n in range(size)
    ]


def test_stratified_split_gives_each_class_its_share() -> None:
    rest, part = split_stratified(examples({"a": 100, "b": 40, "c": 10, "rare": 1}), 0.2)
    assert Counter(e.label for e in part) == {"a": 20, "b": 8, "c": 2}
    assert len(rest) + len(part) == 151


def test_class_with_two_texts_is_never_taken_away_from_the_rest() -> None:
    for seed in range(10):
        rest, part = split_stratified(examples({"a": 20, "pair": 2}), 0.9, seed)
        assert {e.label for e in rest} == {"a", "pair"}
        assert part


def test_small_classes_have_a_text_on_each_side() -> None:
    rest, part = split_stratified(examples({"a": 4, "b": 3, "pair": 2, "rare": 1}), 0.1)
    assert Counter(e.label for e in part) == {"a": 1, "b": 1, "pair": 1}
    assert {e.label for e in rest} == {"a", "b", "pair", "rare"}


def test_no_label_is_taken_away_from_the_rest_by_texts_with_several() -> None:
    # "both" stands only beside the rarer labels, whose strata are drawn one after the other.
    rows = [TextExample(f"{name} {n}", (name, "both") if n else (name,)) for name in "abc" for n in range(2)]
    for seed in range(20):
        rest, part = split_stratified(rows, 0.5, seed)
        assert {label for e in rest for label in e.labels} == {"a", "b", "c", "both"}
        assert part


def test_split_depends_on_the_seed_and_neither_on_order_nor_on_other_rows() -> None:
    rows = examples({"a": 60, "b": 60})
    shuffled = random.Random(5).sample(rows, len(rows))
    part = {e.text for e in split_stratified(rows, 0.25, 7)[1]}
    assert {e.text for e in split_stratified(shuffled, 0.25, 7)[1]} == part
    assert {e.text for e in split_stratified(rows, 0.25, 8)[1]} != part


def test_equal_texts_and_groups_are_never_torn_apart() -> None:
    generator = random.Random(0)
    rows = [
        TextExample(generator.choice(["Hello  there", "hello there", "HELLO THERE ", f"other {n}"]), (str(n % 3),))
        for n in range(200)
    ] + [TextExample(f"grouped {n}", (str(n % 3),), f"customer {n % 20}") for n in range(200)]
    for seed in range(20):
        rest, part = split_stratified(rows, 0.3, seed)
        assert not {" ".join(e.text.lower().split()) for e in rest} & {" ".join(e.text.lower().split()) for e in part}
        assert not {e.group for e in rest if e.group} & {e.group for e in part if e.group}
        assert Counter(map(id, rest + part)) == Counter(map(id, rows))


def test_multi_label_examples_count_under_their_rarest_label() -> None:
    rows = [TextExample(f"t{n}", ("common", "rare") if n < 10 else ("common",)) for n in range(100)]
    part = split_stratified(rows, 0.2)[1]
    assert sum("rare" in e.labels for e in part) == 2


def test_grouped_split_moves_whole_groups() -> None:
    rows = [TextExample(f"t{n}", ("a",), f"g{n % 10}") for n in range(100)]
    rest, part = split_grouped(rows, 0.3, seed=1)
    assert len({e.group for e in part}) == 3
    assert not {e.group for e in rest} & {e.group for e in part}
    assert split_grouped(rows, 0.3, seed=1) == (rest, part)


def test_grouped_split_keeps_every_label_in_the_rest_where_groups_allow_it() -> None:
    rows = [TextExample(f"t{n}", ("only here" if n % 10 == 3 else "a",), f"g{n % 10}") for n in range(100)]
    for seed in range(20):
        rest, part = split_grouped(rows, 0.5, seed)
        assert "only here" in {e.label for e in rest}
        assert len({e.group for e in part}) == 5


def test_pairs_are_split_by_their_groups() -> None:
    rest, part = split_grouped([PairExample(f"q{n}", "p", group=f"g{n % 4}") for n in range(20)], 0.25)
    assert {e.group for e in rest} | {e.group for e in part} == {"g0", "g1", "g2", "g3"}
    assert not {e.group for e in rest} & {e.group for e in part}


def test_grouped_split_refuses_what_leaves_one_side_empty() -> None:
    with pytest.raises(HeadwaterError, match="all 2 examples are of one group"):
        split_grouped([TextExample("a", ("x",), "g"), TextExample("b", ("y",), "g")], 0.5)
    with pytest.raises(HeadwaterError, match=r"fraction of a split must lie between 0 and 1, not 1\.5"):
        split_grouped([TextExample("a", ("x",), "g"), TextExample("b", ("y",), "h")], 1.5)
    rest, part = split_grouped([TextExample("a", ("x",), "g"), TextExample("b", ("y",), "h")], 0.9)
    assert rest
    assert part


def test_grouped_split_names_the_row_without_a_group() -> None:
    with pytest.raises(HeadwaterError, match=r"b\.csv:7' has no group; name the column"):
        split_grouped([TextExample("x", ("a",), None, "b.csv:7")], 0.5)


def test_fraction_outside_its_range_is_refused() -> None:
    with pytest.raises(HeadwaterError, match="must lie between 0 and 1, not 0"):
        split_stratified(examples({"a": 2}), 0)


def test_fingerprint_ignores_order_and_places_and_nothing_else() -> None:
    rows = [TextExample("a", ("x", "y"), None, "f:1"), TextExample("b", ("y",))]
    same = [TextExample("b", ("y",), "g", "other:9"), TextExample("a", ("y", "x"))]
    assert fingerprint(rows) == fingerprint(same)
    assert fingerprint(rows).startswith("sha256:")
    others = [
        [TextExample("a", ("x",)), rows[1]],
        [TextExample("a ", ("x", "y")), rows[1]],
        [*rows, rows[1]],
        [rows[0]],
    ]
    assert len({fingerprint(other) for other in [rows, *others]}) == 5
    assert fingerprint([PairExample("q", "p")]) != fingerprint([PairExample("p", "q")])


def test_labels_are_encoded_by_name() -> None:
    space = LabelSpace.from_examples(examples({"b": 1, "a": 2}))
    assert space.names == ("a", "b")
    assert space.encode([TextExample("t", ("b",)), TextExample("t", ("a",))]).tolist() == [1, 0]
    several = LabelSpace.from_examples([TextExample("t", ("b", "a")), TextExample("t")])
    assert several.multi_label
    encoded = several.encode([TextExample("t", ("b",)), TextExample("t"), TextExample("t", ("b", "a"))])
    assert encoded.tolist() == [[0, 1], [0, 0], [1, 1]]
    assert encoded.dtype == np.float32


def test_unknown_label_is_named_with_the_known_ones() -> None:
    with pytest.raises(HeadwaterError, match="unknown label 'c'; the label space has 2: a, b"):
        LabelSpace(("a", "b")).encode([TextExample("t", ("c",))])
    with pytest.raises(HeadwaterError, match=r"a\.csv:3 has several labels \(a, b\) where every text has one"):
        LabelSpace(("a", "b")).encode([TextExample("t", ("a",)), TextExample("t", ("a", "b"), source="a.csv:3")])
    with pytest.raises(HeadwaterError, match="'t' has no label where every text has one"):
        LabelSpace(("a", "b")).encode([TextExample("t")])
    with pytest.raises(HeadwaterError, match="named twice: a"):
        LabelSpace(("a", "b", "a"))


def test_one_class_is_refused_before_training() -> None:
    with pytest.raises(HeadwaterError, match=r"all 3 training examples have one label \(a\); a classifier needs"):
        check_examples(examples({"a": 3}))


def test_no_examples_and_no_labels_are_refused_before_training() -> None:
    with pytest.raises(HeadwaterError, match="there is no training example"):
        check_examples([])
    with pytest.raises(HeadwaterError, match="no training example has a label"):
        check_examples([TextExample("a")], multi_label=True)


@pytest.mark.parametrize("part", ["valid", "test"])
def test_label_that_training_lacks_is_refused_with_its_place(part: str) -> None:
    strange = [TextExample("t", ("a",), None, "v.csv:1"), TextExample("u", ("zebra",), None, "v.csv:2")]
    with pytest.raises(HeadwaterError, match=r"training has not: 'zebra' \(1\); the first is at v\.csv:2"):
        check_examples(examples({"a": 3, "b": 3}), **{part: strange})


def test_out_of_scope_label_may_lack_training_examples_and_must_occur_somewhere() -> None:
    train = examples({"a": 6, "b": 6})
    outside = [TextExample("weather", ("oos",), None, "v.csv:1")]
    assert check_examples(train, outside, outside, out_of_scope="oos").valid == 1
    with pytest.raises(HeadwaterError, match="no training or validation example has the out-of-scope label 'oss'"):
        check_examples(train, outside, out_of_scope="oss")


def test_duplicates_contradictions_leaks_and_small_classes_are_reported() -> None:
    train = [
        *examples({"a": 6, "b": 6}),
        TextExample("Same text", ("a",), None, "a.csv:20"),
        TextExample("same  TEXT", ("a",), None, "a.csv:21"),
        TextExample("torn", ("a",), None, "a.csv:22"),
        TextExample("torn", ("b",), None, "a.csv:23"),
        TextExample("lonely", ("c",), None, "a.csv:24"),
    ]
    valid = [TextExample("SAME text", ("a",)), TextExample("new", ("b",))]
    report = check_examples(train, valid, problems=[RowProblem("a.csv", 9, "empty")])
    assert (report.train, report.valid, report.duplicates, report.leaks, report.unused_rows) == (17, 2, 1, 1, 1)
    assert report.contradictions == ("'torn': a (a.csv:22), b (a.csv:23)",)
    assert report.small_classes == ("c",)
    said = "\n".join(report.lines)
    for finding in (
        "17 training, 2 validation and 0 test examples, 3 labels",
        "1 rows could not be used",
        "1 training texts occur more than once",
        "1 texts have different labels: 'torn': a (a.csv:22), b (a.csv:23)",
        "1 validation or test texts also occur in training",
        "labels with fewer than 5 examples: c",
    ):
        assert finding in said


def test_clean_data_is_reported_without_complaint() -> None:
    assert len(check_examples(examples({"a": 6, "b": 6})).lines) == 2
