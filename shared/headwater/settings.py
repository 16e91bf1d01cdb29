"""Settings: one typed class, read from `headwater.toml` and overridden by `HEADWATER_*`."""

import tomllib
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from headwater.errors import HeadwaterError

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ScheduleChange(BaseModel):
    """What an installation changes of a job that an app runs by the clock; what is left out stays as the app has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cron: str | None = Field(None, description="five fields in UTC, such as 30 2 * * *")
    every_seconds: float | None = Field(None, ge=1)
    deadline_seconds: float | None = Field(None, ge=1)
    missed: Literal["coalesce", "each", "report"] | None = None


class Settings(BaseSettings):
    """Everything that an installation can change; each field is also the variable `HEADWATER_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="HEADWATER_", toml_file="headwater.toml", extra="forbid")

    home: Path = Field(Path("var"), description="folder that holds all state")
    data: Path | None = Field(None, description="folder with the public data sets that the benchmarks read")
    database_url: str | None = Field(None, description="postgresql://…; unset: SQLite files under home/db")
    host: str = Field("127.0.0.1", description="address the gateway and dashboards listen on")
    gateway_port: int = 8000
    support_dashboard_port: int = 8501
    finance_dashboard_port: int = 8502
    recommender_dashboard_port: int = 8503
    finance_world_port: int = Field(8510, description="loopback port of the sample world's site")
    threads: int = Field(0, ge=0, description="compute threads of the serving runtime; 0: one per core")
    site: str = Field("shop", description="site that a request belongs to when it names none")
    demo: bool = Field(True, description="set up the sample shop and the sample world at first start")
    finance_alert_age_days: float = Field(
        3.0, ge=0, description="older incidents, found in the history of a new source, are recorded but not sent"
    )
    max_document_bytes: int = Field(20_000_000, description="largest document that is ingested")
    max_reading_seconds: int = Field(60, ge=1, description="longest time that the reading of a document may take")
    max_question_characters: int = Field(2_000, description="longest customer message")
    allow_private_urls: bool = Field(False, description="ingest from private addresses (tests, intranets)")
    apps: list[str] = Field([], description='apps that the gateway serves, such as ["finance"]; none named: all')
    crawler_contact: str = Field("", description="mail or web address that crawled sites may write to")
    allowed_origins: list[str] = Field([], description="web sites whose pages may call the gateway (CORS)")
    max_concurrent_requests: int = Field(64, ge=1, description="requests at once; more are asked to come again")
    requests_per_minute: int = Field(120, description="per client address on public routes; 0: no limit")
    schedules: dict[str, ScheduleChange] = Field({}, description="changes to scheduled jobs by their names")
    heartbeat_url: str | None = Field(
        None,
        description="https address that the scheduler asks for each minute while all is well (a dead man's switch)",
    )

    @field_validator("heartbeat_url")
    @classmethod
    def _is_safe(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "")
        if url and not (parts.hostname and (parts.scheme == "https" or _is_loopback(parts.scheme, parts.hostname))):
            raise ValueError("give an https:// address, or an http:// one of this machine (127.0.0.1, localhost)")
        return url or None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    def folder(self, name: str) -> Path:
        """The state folder `home/<name>`, made if it is missing."""
        path = self.home.absolute() / name
        path.mkdir(parents=True, exist_ok=True)
        return path


def load_settings() -> Settings:
    """Read the settings as they are now (a fresh object each time; pass it on rather than calling twice).

    Raises HeadwaterError that names each wrong setting.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(f"{_place(item['loc'])}: {item['msg']}" for item in error.errors(include_input=False))
        raise HeadwaterError(f"{wrong}. Change it in headwater.toml or in the variable") from None
    except (SettingsError, tomllib.TOMLDecodeError) as error:
        reason = error.__cause__ or error
        raise HeadwaterError(
            f"the settings cannot be read: {error} ({reason}); see headwater.toml and HEADWATER_*"
        ) from None


def _place(path: tuple[int | str, ...]) -> str:
    name, *rest = (str(step) for step in path)
    return f"{name}{''.join(f'[{step!r}]' for step in rest)} (HEADWATER_{name.upper()})"


def _is_loopback(scheme: str, host: str) -> bool:
    return scheme == "http" and host in _LOOPBACK
