"""Fixtures that every test shares: settings with a state folder of their own and the fetched base models."""

from pathlib import Path

import pytest

from headwater.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose state lies in a temporary folder; base models are linked from the installation's own home."""
    fetched = load_settings().folder("models")
    home = tmp_path / "home"
    home.mkdir()
    (home / "models").symlink_to(fetched)
    monkeypatch.setenv("HEADWATER_HOME", str(home))
    monkeypatch.delenv("HEADWATER_DATABASE_URL", raising=False)
    return load_settings()
