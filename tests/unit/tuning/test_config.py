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


def test_a_bi_encoder_has_no_head() -> None:
    with pytest.raises(HeadwaterError, match="no head to tune"):
        BiEncoderConfig(method="head")


def test_every_field_is_a_flag_with_help() -> None:
    output = CliRunner().invoke(cli, ["tune", "classify", "--help"]).output

    assert "--learning-rate" in output
    assert "--label-separator" in output
    assert "Example" in output
