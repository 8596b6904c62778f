"""Examples of every command, shown at the end of its `--help` and in the reference.

They stand together so that a test can hold them against the commands that there are, and parse each.
"""

from __future__ import annotations

from collections.abc import Mapping

import typer

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "demo": ("freshloop demo", "freshloop demo --for 120 --workers 2 --json"),
    "doctor": ("freshloop doctor", "FRESHLOOP_BROKERS=kafka-1:9092 freshloop doctor --json"),
    "console": ("freshloop console", "freshloop console --port 8080"),
    "broker up": ("freshloop broker up", "FRESHLOOP_BROKER_PORT=9092 freshloop broker up --json"),
    "broker run": ("freshloop broker run",),
    "broker down": ("freshloop broker down",),
    "broker status": ("freshloop broker status --json",),
    "broker users": ("FRESHLOOP_BROKER_SECURED=true freshloop broker users",),
    "broker wipe": ("freshloop broker wipe --yes",),
    "topics create": ("freshloop topics create", "FRESHLOOP_PARTITIONS=16 freshloop topics create"),
    "topics check": ("freshloop topics check --json",),
    "schemas": ("freshloop schemas events", "freshloop schemas --out schemas"),
    "worker": ("freshloop worker --name w1", "freshloop worker --name w2 --metrics-port 19101 --http-port 19081"),
    "trainer": (
        "freshloop trainer",
        "FRESHLOOP_TRAIN_EXAMPLES=20000 freshloop trainer --loglevel debug",
        "FRESHLOOP_TRAINERS=10.0.0.5:19200,10.0.0.6:19200 freshloop trainer --index 1",
    ),
    "simulate": (
        "freshloop simulate --for 60",
        "freshloop simulate --products 0.1 --rooms 0.05 --for 60",
        "freshloop simulate --arms online,frozen,popular,random --rate 1000 --json",
    ),
    "collect": (
        "freshloop collect docs/examples/collect-videos.toml",
        "freshloop collect docs/examples/collect-events.toml --follow --every 10",
    ),
    "replay": (
        "freshloop replay kuairand --workers 1 --json",
        "freshloop replay interactions clicks.csv --user visitor --item product --time ts --workers 1",
    ),
    "tail": ("freshloop tail --user u17", "freshloop tail --json --limit 5 --from-start"),
    "explain": ("freshloop explain u17", "freshloop explain u17 --top 3 --json"),
    "forget": ("freshloop forget u17 --json", "freshloop forget u17 --verify"),
    "consent": ("freshloop consent u17",),
    "backup save": ("freshloop backup save freshloop.backup",),
    "backup restore": (
        "FRESHLOOP_TOPIC_PREFIX=new- FRESHLOOP_PARTITIONS=32 freshloop backup restore freshloop.backup",
    ),
    "dead-letters list": (
        "freshloop dead-letters list --newest 50",
        "freshloop dead-letters list --reason invalid --json",
    ),
    "dead-letters replay": (
        "freshloop dead-letters replay --reason crashes",
        "freshloop dead-letters replay --number 17",
    ),
    "models list": ("freshloop models list --last 5",),
    "models show": ("freshloop models show 12 --json",),
    "models promote": ("freshloop models promote 12 --reason 'checked by hand'",),
    "models rollback": ("freshloop models rollback", "freshloop models rollback 9 --reason 'reward fell'"),
    "evaluate": (
        "freshloop evaluate --format kuairand --seeds 1,2 --report out --json",
        "freshloop evaluate --format kuairand --cold",
        "freshloop evaluate --format interactions --warm clicks.csv --user visitor --item product --time ts",
    ),
    "experiment": (
        "freshloop experiment",
        "freshloop experiment --control frozen --json",
        "freshloop experiment --policy popular --policy version:3",
    ),
    "report": ("freshloop report", "freshloop report --out yesterday.html --cluster --limit 500000"),
    "bench pipeline": ("freshloop bench pipeline --rounds 3 --only limit,freshloop --json",),
    "bench workers": ("freshloop bench workers --counts 1,2 --rounds 3 --json",),
    "bench latency": ("freshloop bench latency --seconds 30 --json",),
    "bench state": ("freshloop bench state --users 100000 --rounds 3 --json",),
    "bench pool": ("freshloop bench pool --json", "freshloop bench pool --sizes 1000,100000 --rounds 3"),
    "bench compression": ("freshloop bench compression --rounds 3 --videos 5000 --json",),
    "bench train": ("freshloop bench train --examples 12000 --rounds 3 --json",),
    "bench trainers": ("freshloop bench trainers --counts 1,2 --rounds 3 --json",),
    "bench content": ("freshloop bench content --seeds 1 --variants none,all --json",),
    "bench content-forms": ("freshloop bench content-forms --json",),
    "bench ingest": ("freshloop bench ingest --clips clips --json",),
    "bench swap": ("freshloop bench swap --swaps 4 --json",),
    "bench freshness": (
        "freshloop bench freshness --json",
        "freshloop bench freshness --source kuairand --days 1 --every 4 --picture freshness.svg",
    ),
    "bench rebuild": ("freshloop bench rebuild --counts 8,20,64 --json",),
    "ingest": ("freshloop ingest", "freshloop ingest --part 1/2"),
    "embed": ("freshloop embed clip.mp4 other.mp4", "freshloop embed --halves clip.mp4 other.mp4 --json"),
    "content train": ("freshloop content train --creators 300 --steps 600",),
    "content evaluate": ("freshloop content evaluate --topics 16 --seed 77 --json",),
}


def add_examples(app: typer.Typer, examples: Mapping[str, tuple[str, ...]] = EXAMPLES, path: str = "") -> None:
    """Show examples at the end of the help of every command below `app`; `path` leads to it."""
    for info in app.registered_commands:
        name = info.name or (info.callback.__name__.replace("_", "-") if info.callback else "")
        lines = examples.get(f"{path}{name}")
        if lines:
            info.epilog = "\n\n".join(("Examples:", *lines))
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_examples(group.typer_instance, examples, f"{path}{group.name} ")
