"""One typed configuration: flags, YAML and Python agree, and a wrong value is named."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from headwater.cli.main import cli
from headwater.errors import HeadwaterError
from headwater.tuning.config import BiEncoderConfig, ClassifyConfig, make_config, read_yaml, resolved


def test_yaml_keys_and_flags_give_the_same_configuration(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("epochs: 3\nlabel-column: queue\nmethod: lora\n")

    config = make_config(ClassifyConfig, read_yaml(path), str(path))

    assert config == ClassifyConfig(epochs=3, label_column="queue", method="lora")
    assert resolved(config)["learning_rate"] == 1e-3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "magic"}, "method must be one of full, lora, head, not 'magic'"),
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"validation_share": 1.0}, r"validation_share must lie in \[0, 1\), not 1.0"),
        ({"label_separator": "|", "out_of_scope": "oos"}, "needs a multi-class task"),
        ({"epoch": 3}, "unknown key 'epoch'"),
    ],
)
def test_a_wrong_value_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(HeadwaterError, match=message):
        make_config(ClassifyConfig, values, "run.yaml")


def test_a_rate_that_yaml_reads_as_text_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("learning_rate: 1e-4\nvalid: null\nclass_weights: yes\n")

    config = make_config(ClassifyConfig, read_yaml(path), str(path))

    assert config == ClassifyConfig(learning_rate=1e-4, class_weights=True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("epochs: 1.5", r"run\.yaml: epochs must be a whole number, not 1\.5"),
        ("epochs: true", r"epochs must be a whole number, not True"),
        ("epochs:", r"epochs must be a whole number, not None"),
        ("train: [x]", r"train must be a text, not \['x'\]"),
        ("learning_rate: fast", r"learning_rate must be a number, not 'fast'"),
        ("learning_rate: .nan", r"learning_rate must be a number, not nan"),
        ("class_weights: 7", r"class_weights must be true or false, not 7"),
        ("epochs: 0", r"run\.yaml: epochs must be at least 1"),
    ],
)
def test_a_value_of_another_kind_is_named_with_its_key_and_file(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(line + "\n")

    with pytest.raises(HeadwaterError, match=message):
        make_config(ClassifyConfig, read_yaml(path), str(path))


def test_a_bi_encoder_has_no_head() -> None:
    with pytest.raises(HeadwaterError, match="no head to tune"):
        BiEncoderConfig(method="head")


def test_every_field_is_a_flag_with_help() -> None:
    output = CliRunner().invoke(cli, ["tune", "classify", "--help"]).output

    assert "--learning-rate" in output
    assert "--label-separator" in output
    assert "Example" in output
