"""Hooks of MkDocs: make the reference from the code, so that it cannot fall behind, and list every page in the nav."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from prometheus_client import CollectorRegistry
from typer.main import get_command

from model.content.ingest_metrics import IngestMetrics
from model.trainer_metrics import TrainerMetrics
from producers.simulation_metrics import SimulationMetrics
from streams.command_examples import EXAMPLES
from streams.config import Settings
from streams.main import all_records, app
from streams.metrics import WorkerMetrics
from streams.topics import Topics


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List pages that the nav does not name: decisions under Decisions, others under Reference; called by MkDocs."""
    sections = {
        name: pages for section in config.nav or () if isinstance(section, dict) for name, pages in section.items()
    }
    decisions = next(
        one["Decisions"] for one in sections["Explanation"] if isinstance(one, dict) and "Decisions" in one
    )
    known, folder = set(_named(config.nav)), Path(config.docs_dir)
    for page in sorted(folder.rglob("*.md")):
        name = page.relative_to(folder).as_posix()
        if name not in known and not name.startswith("examples/"):
            (decisions if name.startswith("adr/") else sections["Reference"]).append(name)
    return config


def _named(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for one in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from _named(one)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference pages; called by MkDocs."""
    for name, text in pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def pages() -> dict[str, str]:
    """Return the pages by name."""
    return {"commands": commands(), "settings": settings(), "topics": topics(), "metrics": metrics()}


def settings() -> str:
    """Return the page of the settings, in the order and groups of the code."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        rows.append(
            f"| `FRESHLOOP_{name.upper()}` | {_code(default)} | {_bounds(field.metadata)} | {field.description} |"
        )
    return (
        "# Settings\n\nEach is a variable of the environment, or `name = value` in `freshloop.toml` (lower case, "
        "without the prefix) in the folder where a part is started; the environment wins. A wrong one stops the "
        "start with a sentence that names it.\n\n| setting | default | bounds | what it does |\n|---|---|---|---|\n"
        + "\n".join(rows)
    )


def _bounds(metadata: list[Any]) -> str:
    signs = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
    found = [f"{sign} {getattr(one, name)}" for one in metadata for name, sign in signs if hasattr(one, name)]
    return ", ".join(found)


def _code(value: Any) -> str:
    text = json.dumps(value) if isinstance(value, dict) else str(value)
    return f"`{text}`" if text else "(empty)"


def commands() -> str:
    """Return the page of the commands."""
    parts = [
        "# Commands\n\n`freshloop --install-completion` teaches your shell to complete them. A user's mistake is one "
        "sentence on stderr and exit code 2; Ctrl-C gives 130.\n"
    ]
    for path, command in _leaves(get_command(app), ""):
        parts.append(f"## freshloop {path}\n\n{_paragraphs(command.help or '')}\n")
        rows = [
            f"| `{_invocation(one)}` | {_cell(getattr(one, 'help', ''))} | {_default(one)} |"
            for one in command.params
            if one.name != "help"
        ]
        if rows:
            parts.append("| option | | default |\n|---|---|---|\n" + "\n".join(rows) + "\n")
        parts.append("```\n" + "\n".join(EXAMPLES.get(path, ())) + "\n```\n")
    return "\n".join(parts)


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, one in sorted(node.commands.items()):
        if hasattr(one, "commands"):
            yield from _leaves(one, f"{path}{name} ")
        else:
            yield f"{path}{name}", one


def _paragraphs(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


def _invocation(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name).upper()
    return ", ".join([*parameter.opts, *parameter.secondary_opts])


def _default(parameter: Any) -> str:
    value = parameter.default
    if value is None or value == "" or callable(value) or isinstance(value, bool) or "/" in str(value):
        return ""
    return f"`{getattr(value, 'value', value)}`"


def topics() -> str:
    """Return the page of the topics, with schema and examples of their records."""
    named = Settings(_env_file=None)  # type: ignore[call-arg]  # pydantic-settings takes it
    specs = Topics(named).specs()
    rows = [
        f"| `{spec.name}` | {spec.partitions} | {spec.cleanup} | "
        + ", ".join(f"`{key}={value}`" for key, value in sorted(spec.config.items()))
        + " |"
        for spec in specs
    ]
    parts = [
        "# Topics\n\nNames carry `FRESHLOOP_TOPIC_PREFIX`; partitions and retention follow the settings, shown are the "
        "defaults. Keys are the UTF-8 bytes of the id, placed by murmur2 (`partitioner=murmur2_random` on librdkafka). "
        "Values are MessagePack maps; JSON is read as well. `freshloop schemas` prints the schemas for a program. "
        "[How to bring your own data](../howto/own-data.md) has examples to run.\n\n"
        "| topic | partitions | kept | settings |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    ]
    for one in all_records(named):
        parts.append(f"## {one.name}\n\nKey: {one.key}. {one.note}\n")
        schema = one.schema()
        if schema is not None:
            parts += _fields(schema)
            parts += [f"```json\n{json.dumps(example, indent=2)}\n```\n" for example in one.examples_as_json()]
    return "\n".join(parts)


def _fields(schema: dict[str, Any]) -> list[str]:
    rows = []
    for name, field in schema["properties"].items():
        must = "yes" if name in schema["required"] else ""
        shown = "" if "default" not in field else f"`{json.dumps(field['default'])}`"
        rows.append(f"| `{name}` | {_kind(field, schema)} | {must} | {shown} |")
    text = schema.get("description", "")
    return [f"{text}\n", "| field | type | required | default |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"]


def _kind(field: dict[str, Any], schema: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_kind(one, schema) for one in field["anyOf"])
    if "$ref" in field:
        target = schema["$defs"][field["$ref"].rsplit("/", 1)[1]]
        return ", ".join(f"`{one}`" for one in target["enum"]) if "enum" in target else f"{target['title']} (object)"
    if "enum" in field:
        return ", ".join(f"`{one}`" for one in field["enum"])
    bounds = [
        f"{key} {field[key]}" for key in ("minimum", "maximum", "minLength", "maxLength", "maxItems") if key in field
    ]
    kind = str(field.get("type", "any"))
    if kind == "array" and isinstance(field.get("items"), dict) and field["items"]:
        kind = f"array of {_kind(field['items'], schema)}"
    return kind + (f" ({', '.join(bounds)})" if bounds else "")


def metrics() -> str:
    """Return the page of the metrics."""
    worker, trainer, ingest, simulator = (CollectorRegistry() for _ in range(4))
    WorkerMetrics(worker)
    TrainerMetrics(trainer)
    IngestMetrics(ingest)
    SimulationMetrics(simulator, ("online",))
    parts = [
        "# Metrics\n\nEvery process serves Prometheus metrics on `FRESHLOOP_HTTP_HOST`: workers from "
        "`FRESHLOOP_METRICS_PORT` on, the trainer 50 and ingest 60 above, the simulator where `--metrics-port` says. "
        "No label names a user or a video. Alerts on them are in the [runbook](../runbook.md).\n"
    ]
    for title, registry in (("Worker", worker), ("Trainer", trainer), ("Ingest", ingest), ("Simulator", simulator)):
        parts.append(f"## {title}\n\n| metric | kind | labels | |\n|---|---|---|---|")
        parts += [f"| `{name}` | {kind} | {labels} | {text} |" for name, kind, labels, text in _described(registry)]
        parts.append("")
    return "\n".join(parts)


def _described(registry: CollectorRegistry) -> Iterator[tuple[str, str, str, str]]:
    collectors = dict.fromkeys(registry._collector_to_names)  # the library has no public way to its collectors
    for collector in collectors:
        labels = ", ".join(f"`{name}`" for name in getattr(collector, "_labelnames", ()))
        for family in collector.collect():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            yield name, family.type, labels, family.documentation
