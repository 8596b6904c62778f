"""Every setting of Freshloop, read once from the environment (`FRESHLOOP_*`) and `freshloop.toml`.

The composition roots take a `Settings`; nothing else reads the environment.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from streams import failpoints
from streams.quotas import parse_quotas

CONFIG_FILE = "freshloop.toml"

Port = Annotated[int, Field(ge=1, le=65535)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]

SECRETS_DIR = "FRESHLOOP_SECRETS_DIR"  # names a folder with a file for each secret, as containers get them
NO_SECRET = SecretStr("")
WATCHED_RECENT = 64  # recent steps where viewers are watched for minutes: the demo, the loop in simulated time
LEAST_KEY = 16  # characters of a key; fewer can be tried out


class ConfigError(Exception):
    """A setting that cannot be used; the message is one sentence that names it."""


class Settings(BaseSettings):
    """Settings of all parts. Each is `FRESHLOOP_<NAME>` in the environment or `<name>` in `freshloop.toml`."""

    model_config = SettingsConfigDict(env_prefix="FRESHLOOP_", toml_file=CONFIG_FILE, extra="forbid", frozen=True)

    # Where things are
    data_dir: Path = Field(Path(".freshloop"), description="Folder of the embedded broker, the state stores and logs.")
    data: Path = Field(Path("../shared/data"), description="Folder of recorded logs, as `kuairand`.")
    brokers: str = Field("", description="Kafka bootstrap servers; empty means the embedded broker on this machine.")
    broker_port: Port = Field(19092, description="Port of the embedded broker on 127.0.0.1.")
    controller_port: Port = Field(19093, description="Port of the embedded broker's KRaft controller on 127.0.0.1.")
    broker_heap: str = Field("512m", pattern=r"^\d+[mg]$", description="Java heap of the embedded broker.")
    http_host: str = Field("127.0.0.1", description="Address that the API and metrics are served on.")
    metrics_port: Port = Field(19100, description="First metrics port; each part on a machine takes the next.")

    http_port: Port = Field(19080, description="Port of a worker's HTTP API; each worker on a machine takes the next.")
    http_advertise: str = Field(
        "", pattern=r"^(https?://[^\s/?#@]+)?$", description="URL under which other workers reach this one's API."
    )
    http_token: SecretStr = Field(NO_SECRET, description="Bearer token that the API asks for; empty asks for none.")
    console_port: Port = Field(19070, description="Port of the console.")

    # Security of the connections to Kafka
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Protocol of every connection to Kafka."
    )
    kafka_mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism."
    )
    kafka_user: str = Field("", max_length=256, description="User name for SASL; each part may have its own.")
    kafka_password: SecretStr = Field(NO_SECRET, description="Password for SASL.")
    kafka_ca: str = Field("", description="File (PEM) of the authority that signed the brokers' certificates.")
    kafka_cert: str = Field("", description="File (PEM) of the client's certificate, where brokers ask for one.")
    kafka_cert_key: str = Field("", description="File (PEM) of its private key.")
    kafka_check_hostname: bool = Field(True, description="A broker's certificate must name its address.")
    broker_secured: bool = Field(
        False, description="The embedded broker asks for TLS, SCRAM and rights; 'freshloop broker users' makes users."
    )

    # Privacy
    pseudonym_key: SecretStr = Field(
        NO_SECRET, description="Users are known inside by a keyed hash of their id under this key; empty: by their id."
    )

    signing_key: SecretStr = Field(
        NO_SECRET,
        description="Model versions, and which one serves, are signed under this key, and others refused; empty: not.",
    )

    # Traces
    traces: str = Field(
        "",
        pattern=r"^(https?://\S+)?$",
        description="OTLP/HTTP receiver of traces, as http://127.0.0.1:4318; empty: none.",
    )
    traces_share: Share = Field(0.01, description="Share of batches and of HTTP requests that are traced.")

    # Topics
    topic_prefix: str = Field("", max_length=64, pattern=r"^[a-zA-Z0-9._-]*$", description="Prefix of every topic.")
    partitions: Annotated[int, Field(ge=1, le=4096)] = Field(4, description="Partitions of topics keyed by user.")
    replication: Annotated[int, Field(ge=1, le=9)] = Field(1, description="Replicas of every topic.")
    events_retention_hours: Count = Field(168, description="How long events, slates and feedback are kept.")
    dead_letters_retention_hours: Count = Field(336, description="How long dead letters are kept.")

    # Stream
    app_id: str = Field(
        "freshloop",
        pattern=r"^[a-zA-Z0-9._-]{1,64}$",
        description="Behind the prefix, the consumer group of the workers; names their states.",
    )
    poll_records: Annotated[int, Field(ge=1, le=10_000)] = Field(2000, description="Most records in one poll.")
    in_flight: Annotated[int, Field(ge=1, le=64)] = Field(16, description="Batches whose writes may be unacknowledged.")
    commit_interval_s: Seconds = Field(0.5, description="Time between offset commits.")
    session_timeout_s: Annotated[float, Field(ge=6.0)] = Field(10.0, description="A silent worker is dead after this.")
    cached_users: Count = Field(100_000, description="User states held in memory per worker.")
    state_layout: Annotated[int, Field(ge=0, le=255)] = Field(
        0, description="Write states in this earlier layout while workers of an earlier version run; 0: the present."
    )
    failpoint: str = Field("", description="For tests: POINT[:COUNT[:ACTION]] at which a worker fails; empty: nowhere.")
    user_events_per_minute: Annotated[int, Field(ge=0)] = Field(
        1200, description="Events of one user in a minute; beyond it they are only counted; 0: no limit."
    )
    slates: Literal["every", "latest"] = Field("every", description="A slate per event, or a user's latest per batch.")

    # Feed
    slate_size: Annotated[int, Field(ge=1, le=200)] = Field(20, description="Videos in a slate.")
    slate_minimum: Annotated[int, Field(ge=0, le=200)] = Field(5, description="Filled below the threshold up to this.")
    threshold: Share = Field(0.05, description="A video is recommended when its score exceeds this.")
    author_cap: Count = Field(3, description="Most videos of one author in a slate.")
    exploration: Share = Field(0.03, description="Share of a slate's positions given to drawn videos.")
    exploration_by: Literal["uniform", "boltzmann"] = Field(
        "uniform", description="How they are drawn; boltzmann: one of a slate at most, by exp(logit / temperature)."
    )
    temperature: Annotated[float, Field(gt=0)] = Field(0.5, description="Temperature of exploration by boltzmann.")
    fresh_hours: Annotated[float, Field(gt=0)] = Field(720.0, description="A video is fresh for this long.")
    product_fresh_hours: Annotated[float, Field(gt=0)] = Field(
        8760.0, description="A product is fresh for this long, unless it is sold out."
    )
    live_fresh_s: Seconds = Field(30.0, description="A live room leaves when its record was not published for so long.")
    quotas: str = Field(
        "", description="Least and most positions of a slate by kind, as 'product:0-2,live:1-3'; empty: no limits."
    )
    pool_capacity: Annotated[int, Field(ge=8, le=2_000_000)] = Field(16_384, description="Most videos in the pool.")
    index_from: Annotated[int, Field(ge=0)] = Field(
        5_000, description="From so many videos on a pool of over 34,816 slots finds candidates by an index; 0: never."
    )
    index_probes: Annotated[int, Field(ge=1, le=4096)] = Field(
        24, description="Cells of the index that a viewer's query looks into; more find more and take longer."
    )
    recent_events: Annotated[int, Field(ge=1, le=255)] = Field(
        20, description="Recent steps kept in a user's state; the trainer's windows are as long, though never below 32."
    )
    seen_videos: Annotated[int, Field(ge=1, le=10_000)] = Field(
        1024, description="Seen videos remembered per user, at least."
    )
    ties_kept: Annotated[int, Field(ge=0, le=1000)] = Field(
        64, description="Followed authors, and friends, kept in a user's state; the oldest are forgotten first."
    )
    follow_lift: Annotated[float, Field(ge=0, le=10)] = Field(
        1.0, description="Added to the logit of a video whose author the user follows."
    )
    friends_lift: Annotated[float, Field(ge=0, le=10)] = Field(
        0.0, description="Added to the logit of a video that a friend liked just now; more for several friends."
    )
    friends_half_life_s: Seconds = Field(3600.0, description="Half-life of what a friend's like is worth.")
    active_users: Count = Field(50_000, description="Users whose newest likes a worker remembers, for their friends.")
    pending_impressions: Annotated[int, Field(ge=1, le=1000)] = Field(60, description="Open impressions per user.")
    label_window_s: Seconds = Field(10.0, description="An impression without outcome gets a provisional label then.")
    correction_window_s: Seconds = Field(600.0, description="An outcome still corrects an impression this long.")
    popularity_half_life_s: Seconds = Field(3600.0, description="Half-life of the popularity baseline's counts.")
    arms: Annotated[dict[str, Literal["online", "frozen", "popular", "random"]], Field(max_length=16)] = Field(
        default_factory=dict, description="Policies by suffix of the user id (after '@'), for comparisons."
    )
    experiment: str = Field("", max_length=64, description="Name of the experiment; another name draws other buckets.")
    experiment_shares: Annotated[dict[str, Share], Field(max_length=16)] = Field(
        default_factory=dict, description="Shares of the users without suffix, by arm; the others are online."
    )

    # Model
    model_name: str = Field("default", pattern=r"^[a-z0-9-]{1,32}$", description="Name of the model lineage.")
    head: Literal["interaction", "concat"] = Field("interaction", description="Scoring head.")
    hidden_size: Annotated[int, Field(ge=4, le=1024)] = Field(64, description="Size H of the hidden state.")
    embedding_size: Annotated[int, Field(ge=4, le=512)] = Field(32, description="Size E of user and video vectors.")
    taste_memory: bool = Field(
        False, description="Of the hidden units, embedding_size are a memory of surprises, if there are more."
    )
    media_inputs: str = Field(
        "frames,sound,text",
        pattern=r"^(frames|sound|text)?(,(frames|sound|text))*$",
        description="Content vectors that the video tower sees, comma-separated; empty: none.",
    )
    model_seed: int = Field(1, description="Seed of version 0, which serves before anything was learned.")

    # Trainer
    trainers: str = Field(
        "",
        description="Trainer processes that learn as one, as host:port,host:port, the chief first; empty: one is all.",
    )
    train_examples: Count = Field(4_000, description="A round of fine-tuning starts after this many new examples,")
    train_seconds: Seconds = Field(20.0, description="or after this time, whichever comes first.")
    train_minimum: Count = Field(500, description="No round with fewer examples than this.")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(0.0005, description="Adam's step size.")
    user_clip: Annotated[float, Field(ge=0)] = Field(
        8.0, description="Largest norm of the gradient that one user brings to a training step; 0 bounds nothing."
    )
    noise: Annotated[float, Field(ge=0)] = Field(
        0.0, description="Standard deviation of noise in training, in units of user_clip; 0 adds none (see privacy)."
    )
    serving_form: Literal["float32", "float16", "int8"] = Field(
        "float32", description="Form in which versions are published; all workers compute with the same float32 of it."
    )
    privacy_delta: Annotated[float, Field(gt=0, lt=1)] = Field(
        1e-6, description="Delta of the epsilon in manifests, where there is noise; below one in the number of users."
    )
    standardise: bool = Field(
        True, description="Numbers of videos are standardised by statistics learned online; workers follow the version."
    )
    text_rows: bool = Field(
        False, description="Character n-grams of titles and tags get rows that are learned; workers follow the version."
    )
    train_passes: Annotated[int, Field(ge=1, le=20)] = Field(2, description="Times that a round sees its new examples.")
    replay: Annotated[float, Field(ge=0, le=10)] = Field(1.0, description="Older examples beside each new one.")
    held_back: Annotated[float, Field(gt=0, le=0.5)] = Field(
        0.2, description="Share of the new examples, the newest, that judge a version; the next one learns from them."
    )
    gate_margin: Annotated[float, Field(ge=0)] = Field(0.0, description="A version may be this much worse in log-loss.")
    canary_share: Share = Field(
        0.0, description="Share of users that a new version serves on trial before all; 0 tries none."
    )
    canary_labels: Count = Field(
        2_000, description="Labels of those on trial, and of the others, after which a version no worse serves all."
    )
    frozen_after: Count = Field(
        20_000, description="The frozen arm stays at the first version past this many examples."
    )

    # Content
    content_seconds: Annotated[float, Field(gt=0, le=600)] = Field(
        20.0, description="Time to decode one clip, at most."
    )
    content_memory_mb: Annotated[int, Field(ge=512)] = Field(
        2048, description="Address space of the decoder's process."
    )
    content_megabytes: Count = Field(512, description="Most bytes read of one clip, in MB.")
    content_schemes: str = Field(
        "file,memory,s3,gs,az,abfs", description="Kinds of address a clip may be read from, comma-separated."
    )
    content_backbone: str = Field(
        "",
        pattern=r"^\w*$",
        description="A Keras application, as MobileNetV3Small, in place of the frames' tower; empty for that tower.",
    )
    content_backbone_weights: Path = Field(
        Path(), description="File of its weights, without the classifier. Nothing is fetched."
    )
    content_backbone_sha256: str = Field(
        "", pattern=r"^([0-9a-f]{64})?$", description="SHA-256 that this file must have."
    )

    # Collectors
    collect_token: SecretStr = Field(NO_SECRET, description="Bearer token that `freshloop collect` sends to the API.")

    @field_validator("failpoint")
    @classmethod
    def _failpoint(cls, value: str) -> str:
        if value:
            failpoints.parse(value)
        return value

    @field_validator("pseudonym_key", "signing_key")
    @classmethod
    def _key(cls, value: SecretStr) -> SecretStr:
        if value and len(value) < LEAST_KEY:
            raise ValueError(f"a key has at least {LEAST_KEY} characters")
        return value

    @field_validator("quotas")
    @classmethod
    def _quotas(cls, value: str) -> str:
        parse_quotas(value)
        return value

    @field_validator("brokers", "trainers")
    @classmethod
    def _brokers(cls, value: str) -> str:
        for part in filter(None, value.split(",")):
            host, _, port = part.rpartition(":")
            if not host or not port.isdigit():
                raise ValueError("must be host:port, comma-separated")
        return value

    @model_validator(mode="after")
    def _together(self) -> Settings:
        if unknown := [arm for arm in self.experiment_shares if arm not in self.arms]:
            raise ValueError(f"experiment_shares names {unknown[0]}, which is not among arms")
        if sum(self.experiment_shares.values()) > 1.0 + 1e-9:
            raise ValueError("experiment_shares must not exceed 1 together")
        if self.slate_minimum > self.slate_size:
            raise ValueError("slate_minimum must not exceed slate_size")
        if self.exploration_by == "boltzmann" and self.exploration * self.slate_size > 1 + 1e-9:
            raise ValueError("exploration by boltzmann must not exceed 1 / slate_size, one position of each slate")
        if sum(least for least, _ in parse_quotas(self.quotas).values()) > self.slate_size:
            raise ValueError("the least positions of all kinds in quotas must not exceed slate_size together")
        if self.kafka_security.startswith("SASL") and not (self.kafka_user and self.kafka_password):
            raise ValueError("SASL needs kafka_user and kafka_password")
        if self.noise and not self.user_clip:
            raise ValueError("noise needs user_clip: what is not bounded cannot be hidden")
        if self.trainers and (self.noise or self.canary_share):
            raise ValueError("trainers learn as one without noise and canary_share only")
        if self.broker_port == self.controller_port:
            raise ValueError("broker_port and controller_port must differ")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, the environment over files of secrets, those over `freshloop.toml`."""
        return init_settings, env_settings, file_secret_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def watched_recent(self) -> int:
        """Recent steps to keep where nobody said how many and viewers are watched for minutes."""
        return self.recent_events if "recent_events" in self.model_fields_set else WATCHED_RECENT

    @property
    def bootstrap(self) -> str:
        """The bootstrap servers that clients use."""
        return self.brokers or f"127.0.0.1:{self.broker_port}"


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; keyword arguments win over environment and file.

    Raises:
      ConfigError: one sentence that names the setting.
    """
    folder = os.environ.get(SECRETS_DIR)  # noqa: TID251  # this is the one place that reads the environment
    if folder and not Path(folder).is_dir():
        raise ConfigError(f"{SECRETS_DIR} names {folder}, which is not a folder")
    try:
        return Settings(_secrets_dir=folder, **overrides)  # type: ignore[call-arg]  # its plugin does not know of it
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "settings"
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"setting {name} (FRESHLOOP_{name.upper()}): {message}") from None
    except ValueError as error:  # a damaged freshloop.toml or a malformed complex value
        raise ConfigError(f"the settings cannot be read: {error}") from None


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables that give a child process these settings.

    Secrets are not among them: a child inherits them, since what it is given by name shows in the list of processes.
    """
    found = {}
    for name, value in settings.model_dump(mode="json").items():
        if not isinstance(getattr(settings, name), SecretStr):
            found[f"FRESHLOOP_{name.upper()}"] = json.dumps(value) if isinstance(value, dict) else str(value)
    return found
