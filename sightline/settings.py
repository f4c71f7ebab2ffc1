"""Every setting of an installation: environment variables ``SIGHTLINE_*``, nested with ``__``.

The groups are the plain dataclasses of the packages that use them, so that a knob is declared once, with its
default. Everything that is written lives under ``data`` unless a setting says otherwise. Imports no torch,
SQL or FAISS.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from sightline import faultpoint
from sightline.api.settings import ApiSettings
from sightline.data_folder import CATALOG, default_folder
from sightline.errors import InputError
from sightline.fetching.settings import FetchSettings
from sightline.imaging.limits import Limits
from sightline.indexer.settings import BrokerSettings, BuilderSettings, IndexerSettings, IndexSettings
from sightline.retriever.settings import RetrieverSettings
from sightline.searching.settings import SavedSettings
from sightline.serving.settings import AnswererSettings, CaptionerSettings, ModelSettings, ServingSettings
from sightline.store.settings import DatabaseSettings

PREFIX = "SIGHTLINE_"
LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class DecodingSettings:
    """The processes that turn untrusted bytes into pixels."""

    processes: int = 1
    """Decoders that run side by side in one worker."""
    max_tries: int = 3
    """A picture that kills its decoder this often is marked failed."""


@dataclass(frozen=True)
class UpSettings:
    """Processes that one command supervises (``up``, ``demo``, ``index`` without a running worker)."""

    stop_seconds: float = 30.0
    """How long a process may take to finish its batch after SIGTERM before it is killed."""
    restart_limit: int = 5
    """A process that dies this often within 20 seconds of its start brings everything down."""


@dataclass(frozen=True)
class LogSettings:
    """What the long-running processes write to stderr."""

    level: str = "info"
    """``debug``, ``info``, ``warning`` or ``error``; JSON lines on stderr."""

    def __post_init__(self) -> None:
        if self.level.lower() not in LEVELS:
            raise InputError(
                f"{PREFIX}LOG__LEVEL={self.level!r} cannot be used; it is one of {', '.join(LEVELS)}."
            )


class Settings(BaseSettings):
    """The whole installation. Immutable; every path is absolute."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid", validate_default=False
    )

    data: Path = Field(default_factory=default_folder)
    """The data folder: holds everything that no other setting puts elsewhere. The user's own, unless the
    working folder has one that is in use (`sightline.data_folder`).
    """
    database_url: str = ""
    """SQLAlchemy URL of the catalog, such as ``postgresql+psycopg://user:password@host/name``; SQLite in the
    data folder when empty.
    """
    segments: Path | None = None
    """Folder of the segments (local, or a POSIX folder that all hosts share); ``segments`` in the data
    folder.
    """
    generations: Path | None = None
    """Folder of the index generations, likewise; ``generations`` in the data folder."""
    originals: str = ""
    """Folder or fsspec URL of copied originals and thumbnails; ``originals`` in the data folder when empty.
    """
    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    captioner: CaptionerSettings = Field(default_factory=CaptionerSettings)
    answerer: AnswererSettings = Field(default_factory=AnswererSettings)
    imaging: Limits = Field(default_factory=Limits)
    decoding: DecodingSettings = Field(default_factory=DecodingSettings)
    fetch: FetchSettings = Field(default_factory=FetchSettings)
    indexer: IndexerSettings = Field(default_factory=IndexerSettings)
    builder: BuilderSettings = Field(default_factory=BuilderSettings)
    retriever: RetrieverSettings = Field(default_factory=RetrieverSettings)
    broker: BrokerSettings = Field(default_factory=BrokerSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    serving: ServingSettings = Field(default_factory=ServingSettings)
    saved: SavedSettings = Field(default_factory=SavedSettings)
    up: UpSettings = Field(default_factory=UpSettings)
    log: LogSettings = Field(default_factory=LogSettings)

    @model_validator(mode="before")
    @classmethod
    def _read_groups(cls, raw: dict[str, Any]) -> dict[str, Any]:
        for name, group in groups():
            if isinstance(raw.get(name), Mapping):
                raw[name] = _read_group(name, group, raw[name])
        return raw

    @field_validator("data", "segments", "generations", mode="before")
    @classmethod
    def _not_empty(cls, given: Any) -> Any:
        """An empty path would mean the current folder, which nobody meant."""
        if given == "":
            raise ValueError("it is empty; name a folder, or unset it")
        return given

    @property
    def data_folder(self) -> Path:
        """The data folder, absolute."""
        return self.data.expanduser().absolute()

    @property
    def catalog_url(self) -> str:
        """The SQLAlchemy URL of the catalog: SQLite in the data folder when none is set."""
        return self.database_url or f"sqlite:///{self.data_folder / CATALOG}"

    @property
    def segments_folder(self) -> Path:
        """Where segments live: a local or shared POSIX folder."""
        return (self.segments or self.data_folder / "segments").expanduser().absolute()

    @property
    def generations_folder(self) -> Path:
        """Where index generations live: a local or shared POSIX folder."""
        return (self.generations or self.data_folder / "generations").expanduser().absolute()

    @property
    def workers_folder(self) -> Path:
        """Where running workers note what they counted."""
        return self.data_folder / "workers"

    @property
    def originals_url(self) -> str:
        """Where copied originals and thumbnails live: a folder or any fsspec URL."""
        return self.originals or str(self.data_folder / "originals")

    @property
    def own_folders(self) -> tuple[str, ...]:
        """Wherever files of this installation lie: no source ever takes them for pictures."""
        stores = (f"{self.originals_url.rstrip('/')}/{name}" for name in ("originals", "thumbnails"))
        folders = (
            self.data_folder,
            self.segments_folder,
            self.generations_folder,
            self.broker_settings.folder,
        )
        return (*map(str, folders), *stores)

    @property
    def builder_settings(self) -> BuilderSettings:
        """The builder, with the time of grace of what is released filled in where nobody else can need it."""
        return self.builder if self.originals else self.builder.alone()

    @property
    def index_settings(self) -> IndexSettings:
        """Which kind of index the builder gives a collection."""
        asked = self.retriever
        return IndexSettings(
            asked.index, asked.recall_target, asked.approximate_from, asked.index_memory_bytes
        )

    @property
    def broker_settings(self) -> BrokerSettings:
        """The broker with its folder filled in."""
        folder = self.broker.folder or self.data_folder / "broker"
        return replace(self.broker, folder=folder.expanduser().absolute())


@dataclass(frozen=True)
class Knob:
    """One environment variable and what it is set to by default."""

    variable: str
    default: Any
    value: Any


def load_settings(data: Path | None = None) -> Settings:
    """Read the environment; ``data`` (the command line's) wins over ``SIGHTLINE_DATA``.

    Raises:
        InputError: a variable that cannot be understood, named as the user wrote it.
    """
    try:
        return Settings() if data is None else Settings(data=data)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise InputError(str(first.get("ctx", {}).get("error", first["msg"]))) from error
        variable = PREFIX + "__".join(str(part) for part in first["loc"][:2]).upper()
        said = str(first.get("ctx", {}).get("error", first["msg"]))
        raise InputError(f"{variable}={first['input']!r} cannot be used: {said}.") from error


def groups() -> list[tuple[str, type]]:
    """The nested groups: field name and dataclass."""
    found = [(name, info.annotation) for name, info in Settings.model_fields.items()]
    return [(name, kind) for name, kind in found if isinstance(kind, type) and is_dataclass(kind)]


def knobs(settings: Settings | None = None) -> Iterator[Knob]:
    """Every setting with its variable, its default (None: it depends) and its value in ``settings``."""
    nested = dict(groups())
    for name, info in Settings.model_fields.items():
        if name not in nested:
            usual = None if info.default_factory else info.default
            value = usual if settings is None else getattr(settings, name)
            yield Knob(f"{PREFIX}{name.upper()}", usual, value)
            continue
        default = nested[name]()
        group = default if settings is None else getattr(settings, name)
        for item in get_type_hints(nested[name]):
            yield Knob(
                f"{PREFIX}{name.upper()}__{item.upper()}", getattr(default, item), getattr(group, item)
            )


def environment(settings: Settings) -> dict[str, str]:
    """The variables that give a child process the same settings (the data folder, and what differs)."""
    found = {f"{PREFIX}DATA": str(settings.data_folder)}
    for knob in knobs(settings):
        if knob.value != knob.default and knob.variable not in found:
            found[knob.variable] = _write(knob.value)
    return found


def unknown_variables(names: Mapping[str, str] | None = None) -> list[str]:
    """Variables with our prefix that no setting reads: usually a typing error."""
    known = {knob.variable for knob in knobs()} | {f"{PREFIX}REQUIRE_SERVICES", faultpoint.VARIABLE}
    return sorted(name for name in (names or os.environ) if name.startswith(PREFIX) and name not in known)


def _write(value: Any) -> str:
    if isinstance(value, tuple | list | frozenset):
        return ",".join(str(item) for item in value)
    return "" if value is None else str(value)


def _read_group(name: str, group: type, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Check the names of one group and read its comma-separated lists and its empty optionals."""
    hints = get_type_hints(group)
    unknown = sorted(set(raw) - set(hints))
    if unknown:
        raise ValueError(
            f"There is no setting {PREFIX}{name.upper()}__{unknown[0].upper()}; see docs/settings.md."
        )
    prefix = f"{PREFIX}{name.upper()}__"
    return {item: _read(f"{prefix}{item.upper()}", hints[item], value) for item, value in raw.items()}


def _read(variable: str, kind: Any, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if get_origin(kind) in (tuple, list, frozenset):
        return _read_list(variable, value)
    return None if value == "" and type(None) in get_args(kind) else value


def _read_list(variable: str, text: str) -> tuple[str, ...]:
    """Parts between commas. ValueError for JSON and quotes, which would become part of a name."""
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    if _is_json(text) or any(_is_torn(part) for part in parts):
        bare = ",".join(part.strip("[]()\"' ") for part in parts)
        raise ValueError(
            f"{variable}={text[:200]!r} cannot be used: a list is written with commas, without brackets and "
            f"quotes, such as {variable}={bare[:200]}."
        )
    return parts


def _is_torn(part: str) -> bool:
    """Whether it is of another notation: no name begins with a quote, or opens what it does not close."""
    return part.lstrip("[(").startswith(("'", '"')) or part.count("[") != part.count("]")


def _is_json(text: str) -> bool:
    with suppress(ValueError):
        return isinstance(json.loads(text), list)
    return False
