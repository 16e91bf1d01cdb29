"""Versions and stages, on SQLite and PostgreSQL, also when many write at once."""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from headwater.bundles import Bundle, Registry, find_bundle
from headwater.bundles.tables import bundles
from headwater.data import TextExample
from headwater.errors import Conflict, HeadwaterError, NotFound
from headwater.settings import Settings

MakeBundle = Callable[..., Bundle]


def together(*calls: Callable[[], object]) -> list[object]:
    """The results, or exceptions, of calls made at the same time."""

    def outcome(call: Callable[[], object]) -> object:
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(outcome, calls))


def test_versions_count_up_and_the_production_one_is_meant_by_the_name(
    registry: Registry, make_bundle: MakeBundle, database_settings: Settings
) -> None:
    made = [make_bundle(str(n), weights=bytes([n])) for n in range(3)]
    versions = [registry.add("intents", bundle, actor="ann") for bundle in made]
    assert [(v.version, v.stage, v.actor) for v in versions] == [(n, "candidate", "ann") for n in (1, 2, 3)]
    assert registry.resolve("intents").id == made[2].id  # the newest, as long as none is in production
    registry.set_production("intents", 1, expected=None, actor="bob")
    assert registry.resolve("intents").id == made[0].id
    assert registry.resolve("intents@2").id == made[1].id
    assert find_bundle("intents@3", database_settings).id == made[2].id
    assert registry.names() == ["intents"]


def test_registered_files_are_the_registrys_own(registry: Registry, make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    version = registry.add("intents", bundle, actor="ann")
    bundle.file("model.onnx").write_bytes(b"altered later")
    assert registry.open(version).file("model.onnx").read_bytes() == b"weights"
    registry.open(version).file("model.onnx").write_bytes(b"altered")
    with pytest.raises(HeadwaterError, match=r"was altered: model\.onnx"):
        registry.resolve("intents")


def test_same_bundle_twice_is_one_version(registry: Registry, make_bundle: MakeBundle) -> None:
    first = registry.add("intents", make_bundle("one"), actor="ann")
    assert registry.add("intents", make_bundle("two"), actor="bob") == first


def test_gate_set_is_the_registrys_own_and_another_one_replaces_it_only_when_asked(
    registry: Registry, make_bundle: MakeBundle
) -> None:
    gate = [TextExample("one", ("a",)), TextExample("two, [x]", ("b",))]
    other = [*gate, TextExample("three", ("a",))]
    assert registry.gate("intents") == []
    first = registry.add("intents", make_bundle("one"), actor="ann", gate=gate)
    registry.add("intents", make_bundle("two"), actor="ann", gate=gate)
    newer = make_bundle("newer", weights=b"newer")
    for bundle in (make_bundle("three"), newer):
        with pytest.raises(Conflict, match=r"intents has another gate set already .* replace it with --replace-gate"):
            registry.add("intents", bundle, actor="bob", gate=other)
    assert registry.versions("intents") == [first]
    assert [(e.text, e.labels) for e in registry.gate("intents")] == [(e.text, e.labels) for e in gate]
    registry.add("intents", newer, actor="bob", gate=other, replace_gate=True)
    assert [e.text for e in registry.gate("intents")] == ["one", "two, [x]", "three"]


def test_gate_set_of_several_labels_or_none_a_text_comes_back_whole(
    registry: Registry, make_bundle: MakeBundle
) -> None:
    gate = [TextExample("both", ("a", "b")), TextExample("neither"), TextExample("one", ("a",))]
    registry.add("topics", make_bundle(multi_label=True), actor="ann", gate=gate)
    assert [(e.text, e.labels) for e in registry.gate("topics")] == [(e.text, e.labels) for e in gate]


def test_altered_or_lost_gate_set_is_named(registry: Registry, make_bundle: MakeBundle) -> None:
    registry.add("intents", make_bundle(), actor="ann", gate=[TextExample("one", ("a",)), TextExample("two", ("b",))])
    (file,) = (registry.folder / "intents").glob("gate-*.jsonl")
    file.write_text(file.read_text().replace('"b"', '"a"'))
    with pytest.raises(
        HeadwaterError, match=r"the gate set .* was altered; give intents one again: headwater registry"
    ):
        registry.gate("intents")
    file.unlink()
    with pytest.raises(NotFound, match="gate-"):
        registry.gate("intents")


def test_gate_set_that_the_bundle_cannot_be_judged_on_is_refused_at_once(
    registry: Registry, make_bundle: MakeBundle
) -> None:
    with pytest.raises(HeadwaterError, match=r"no text of the gate set has a label of this bundle \(such as a, b\)"):
        registry.add("intents", make_bundle(), actor="ann", gate=[TextExample("one", ("c",))])
    encoder = make_bundle("e", kind="encoder", labels=())
    with pytest.raises(HeadwaterError, match="a bundle of kind encoder cannot be judged on labelled"):
        registry.add("encoder", encoder, actor="ann", gate=[TextExample("one", ("a",))])
    assert registry.names() == []


def test_promotion_archives_the_former_and_raises_the_generation(registry: Registry, make_bundle: MakeBundle) -> None:
    for n in range(2):
        registry.add("intents", make_bundle(str(n), weights=bytes([n])), actor="ann")
    assert (registry.production("intents"), registry.generation("intents")) == (None, 0)
    registry.set_production("intents", 1, expected=None, actor="ann")
    before = datetime.now(UTC)
    promoted = registry.set_production("intents", 2, expected=1, actor="bob", verdict={"accepted": True})
    assert [(v.version, v.stage) for v in registry.versions("intents")] == [(2, "production"), (1, "archived")]
    assert (promoted.actor, promoted.verdict) == ("bob", {"accepted": True})
    assert promoted.promoted is not None
    assert timedelta(0) <= promoted.promoted - before < timedelta(minutes=1)
    assert registry.generation("intents") == 2
    assert registry.production("intents") == promoted


def test_promotion_decided_against_a_former_state_changes_nothing(registry: Registry, make_bundle: MakeBundle) -> None:
    for n in range(3):
        registry.add("intents", make_bundle(str(n), weights=bytes([n])), actor="ann")
    registry.set_production("intents", 1, expected=None, actor="ann")
    for expected in (None, 2):
        with pytest.raises(Conflict, match=rf"the production version of intents is now 1, not {expected}; look again"):
            registry.set_production("intents", 3, expected=expected, actor="ann")
    with pytest.raises(NotFound, match="intents has no version 9"):
        registry.set_production("intents", 9, expected=1, actor="ann")
    assert [v.stage for v in registry.versions("intents")] == ["candidate", "candidate", "production"]
    assert registry.generation("intents") == 1


def test_unknown_names_and_versions_are_answered_with_those_that_exist(
    registry: Registry, make_bundle: MakeBundle
) -> None:
    with pytest.raises(NotFound, match="no bundle is registered as 'x'; registered: none"):
        registry.resolve("x")
    registry.add("intents", make_bundle(), actor="ann")
    with pytest.raises(NotFound, match="registered: intents"):
        registry.resolve("x")
    with pytest.raises(NotFound, match="intents has no version 7; it has: 1"):
        registry.resolve("intents@7")
    with pytest.raises(HeadwaterError, match="'intents@new': a version is a number, as in intents@3"):
        registry.resolve("intents@new")


@pytest.mark.parametrize("name", ["", "../up", "a b", "名", "x" * 65, "a/b"])
def test_name_that_could_leave_the_folder_is_refused(registry: Registry, make_bundle: MakeBundle, name: str) -> None:
    with pytest.raises(HeadwaterError, match="a bundle's name has letters, digits, - and _"):
        registry.add(name, make_bundle(), actor="ann")
    assert list(registry.folder.iterdir()) == []


def test_bundles_added_at_once_each_get_a_version_of_their_own(registry: Registry, make_bundle: MakeBundle) -> None:
    made = [make_bundle(str(n), weights=bytes([n])) for n in range(8)]
    outcomes = together(*(lambda bundle=bundle: registry.add("intents", bundle, actor="ann") for bundle in made))
    assert [error for error in outcomes if isinstance(error, Exception)] == []
    assert sorted(v.version for v in registry.versions("intents")) == list(range(1, 9))
    assert {v.bundle_id for v in registry.versions("intents")} == {bundle.id for bundle in made}


def test_same_bundle_added_at_once_is_one_version(registry: Registry, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(weights=b"w" * 2_000_000)
    outcomes = together(*(lambda: registry.add("intents", bundle, actor="ann") for _ in range(8)))
    assert [error for error in outcomes if isinstance(error, Exception)] == []
    assert [v.version for v in registry.versions("intents")] == [1]
    assert registry.resolve("intents").id == bundle.id
    assert [path.name for path in (registry.folder / "intents").iterdir() if path.is_dir()] == [bundle.id]


def test_of_promotions_at_once_exactly_one_wins(registry: Registry, make_bundle: MakeBundle, house: sa.Engine) -> None:
    for n in range(7):
        registry.add("intents", make_bundle(str(n), weights=bytes([n])), actor="ann")
    registry.set_production("intents", 1, expected=None, actor="ann")
    for generation in (2, 3):
        current = registry.version("intents").version

        def promote(number: int, expected: int = current) -> object:
            return registry.set_production("intents", number, expected=expected, actor="ann")

        outcomes = together(*(functools.partial(promote, number) for number in range(1, 8) if number != current))
        assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 1
        assert {type(outcome) for outcome in outcomes if isinstance(outcome, Exception)} == {Conflict}
        with house.connect() as connection:
            live = sa.select(sa.func.count()).select_from(bundles).where(bundles.c.stage == "production")
            assert connection.execute(live).scalar() == 1
        assert registry.generation("intents") == generation
