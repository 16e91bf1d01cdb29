"""Which base model a run starts from, and what is said about it."""

from pathlib import Path

import pytest

from headwater.errors import HeadwaterError, NotFound
from headwater.models import BaseModel
from headwater.settings import Settings
from headwater.tuning.bases import choose_base
from headwater.tuning.runs import find_base

ENGLISH = ["How long does a refund take after I return my parcel?", "Where is my order, it should be here"] * 20
CHINESE = ["退款需要多长时间？", "我的包裹到哪里了", "怎么修改收货地址"] * 20
GERMAN = ["Wo ist mein Paket? Ich habe die Bestellung vor zwei Wochen aufgegeben und nichts gehört."] * 20


@pytest.mark.parametrize(
    ("texts", "name", "language"),
    [
        (ENGLISH, "minilm", "en"),
        (ENGLISH + CHINESE[:5], "minilm", "en"),
        (CHINESE, "multilingual", "zh"),
        (ENGLISH + CHINESE, "multilingual", "zh"),
        (GERMAN, "multilingual", "de"),
    ],
)
def test_the_base_reads_the_language_of_the_texts_unless_one_is_named(
    texts: list[str], name: str, language: str, settings: Settings
) -> None:
    said: list[str] = []

    chosen, base = choose_base("auto", texts, settings, said.append)

    assert (chosen, base.name) == (name, name)
    assert len(said) == 1
    assert f"base model {name}" in said[0]
    assert f"language '{language}'" in said[0]


def test_a_named_base_that_does_not_read_the_texts_is_kept_with_a_warning(
    tiny_base: BaseModel, settings: Settings
) -> None:
    said: list[str] = []

    assert choose_base("minilm", CHINESE, settings, said.append)[0] == "minilm"
    assert said == [
        "warning: 100% of the texts are in the language 'zh', and the base model minilm reads 'en'; "
        "--base multilingual reads about 100 languages"
    ]
    for reference, texts in (("minilm", ENGLISH), ("multilingual", CHINESE), (str(tiny_base.path), ENGLISH)):
        choose_base(reference, texts, settings, said.append)
    assert len(said) == 1


def test_a_mistyped_run_folder_is_named_with_those_there_are(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    for name in ("intents", "topics"):
        (tmp_path / "runs" / name / "bundle" / "torch").mkdir(parents=True)
    (tmp_path / "runs" / "cut").mkdir()
    (tmp_path / "runs" / "cut" / "run.json").write_text("{}")

    with pytest.raises(HeadwaterError, match=r"As a model of the hub: .*127\.0\.0\.1:9") as caught:
        find_base("runs/intent", settings)
    assert str(caught.value).startswith(
        "there is no folder runs/intent; name that of a finished run (in runs: intents, topics), "
        "a registered NAME@VERSION, or a packaged model (minilm, "
    )
    with pytest.raises(NotFound, match=r"there is no folder \./old/intent; name .* smollm\)$"):
        find_base("./old/intent", settings)
    with pytest.raises(NotFound, match=r"the run in runs/cut has no bundle .*; repeat its command to finish it"):
        find_base("runs/cut", settings)
