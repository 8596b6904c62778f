"""The commands `freshloop embed` and `freshloop content`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from model.content.chosen import content_model
from model.content.decoder import Decoder
from model.content.encoder import Content, ContentEncoder
from model.content.examples import Renderer
from model.content.media import BadMedia, Media
from model.content.retrieval import HALVES, HalvesResult, compare, match_halves, similarities
from model.content.weights import DEFAULT
from streams.config import load_settings

NOTHING_EMBEDDED = 1  # exit code: every file had a reason not to give a vector

Json = Annotated[bool, typer.Option("--json", help="The last line of the output is one JSON object.")]
Weights = Annotated[
    Path, typer.Option(help="The content weights; their manifest lies beside them.", show_default=False)
]


def embed(
    files: Annotated[list[str], typer.Argument(help="Clips: files, or addresses such as s3://bucket/clip.mp4.")],
    halves: Annotated[
        bool, typer.Option("--halves", help="Cut each clip in two by time; each half looks for the other.")
    ] = False,
    neighbours: Annotated[int, typer.Option(min=0, help="Nearest clips to name for each.")] = 3,
    weights: Weights = DEFAULT,
    as_json: Json = False,
) -> None:
    """Print the vectors of clips and their nearest neighbours by cosine.

    A clip that gives no vector is listed with its reason. With --halves each clip is cut in two by time and each half
    looks for the nearest among all other halves; a clip counts (`halves_matched`) when each of its halves finds the
    other. Beside it stands what a colour histogram and the same CNN without training reach on the same halves.
    """
    with content_model(load_settings(), weights) as (encoder, decoder, version):
        found = _halves(files, decoder, encoder) if halves else _embed(files, encoder, neighbours)
    found["content_version"] = version
    if as_json:
        print(json.dumps(found))
    if not any("reason" not in one for one in found["files"]):
        raise typer.Exit(NOTHING_EMBEDDED)


def _embed(files: list[str], encoder: ContentEncoder, neighbours: int) -> dict[str, Any]:
    contents = [_progress(name, encoder) for name in files]
    rows: list[dict[str, Any]] = [_row(name, content) for name, content in zip(files, contents, strict=True)]
    for modality in ("frames", "sound"):
        having = [at for at, content in enumerate(contents) if getattr(content, modality) is not None]
        if len(having) > 1 and neighbours:
            cosines = similarities(np.stack([getattr(contents[at], modality) for at in having]))
            for row, at in zip(cosines, having, strict=True):
                best = np.argsort(-row, kind="stable")[: min(neighbours, len(having) - 1)]
                rows[at][f"{modality}_neighbours"] = [
                    {"file": files[having[one]], "cosine": round(float(row[one]), 4)} for one in best
                ]
    table = Table("file", "vector of the frames", "sound", "nearest by frames", "by sound", title="Content vectors")
    for row in rows:
        near = (_nearest(row.get(f"{one}_neighbours", [])) for one in ("frames", "sound"))
        if "reason" in row:
            table.add_row(Path(row["file"]).name, f"[red]{row['reason']}[/]", "", row["detail"], "")
        else:
            table.add_row(Path(row["file"]).name, _short(row["frames"]), _short(row["sound"]), *near)
    Console(stderr=True).print(table)
    return {"files": rows}


def _progress(name: str, encoder: ContentEncoder) -> Content:
    started = time.monotonic()
    content = encoder(name)
    print(f"freshloop: {name}: {content.reason or 'embedded'} ({time.monotonic() - started:.2f} s)", file=sys.stderr)
    return content


def _row(name: str, content: Content) -> dict[str, Any]:
    if content.reason:
        return {"file": name, "reason": content.reason, "detail": content.detail}
    vectors = {"frames": content.frames, "sound": content.sound}
    return {"file": name} | {
        kind: None if vector is None else [round(float(one), 4) for one in vector] for kind, vector in vectors.items()
    }


def _short(vector: list[float] | None, shown: int = 4) -> str:
    if vector is None:
        return "none"
    return "[" + " ".join(f"{one:+.2f}" for one in vector[:shown]) + f" ... {len(vector)}]"


def _nearest(found: list[dict[str, Any]]) -> str:
    return ", ".join(f"{Path(one['file']).name} {one['cosine']:.2f}" for one in found)


def _halves(files: list[str], decoder: Decoder, encoder: ContentEncoder) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    kept: list[tuple[str, list[Media]]] = []
    for name in files:
        try:
            media = [decoder(name, window) for window in HALVES]
            if not all(len(one.frames) for one in media):
                raise BadMedia("no-streams", "a half has no pictures")
        except BadMedia as bad:
            rows.append({"file": name, "reason": bad.reason, "detail": bad.detail})
            continue
        kept.append((name, media))
    if not kept:
        return {"files": rows, "halves_matched": 0, "halves_total": 0}

    def trained(media: Media) -> Any:
        return encoder.of_frames(media)

    results = {
        way: match_halves(vectors)
        for way, vectors in compare([half for _, media in kept for half in media], trained).items()
    }
    _tell_halves(results, [name for name, _ in kept])
    missed = set(results["trained"].missed)
    rows += [{"file": name, "matched": at not in missed} for at, (name, _) in enumerate(kept)]
    best = results["trained"]
    return {
        "files": rows,
        "halves_matched": best.both,
        "halves_total": best.total,
        "counting": "a clip counts when each of its halves is nearest to the other among all halves",
        "ways": {
            way: {
                "both": one.both, "first_finds_second": one.first, "second_finds_first": one.second,
                "halves": one.first + one.second, "of_halves": 2 * one.total,
            }
            for way, one in results.items()
        },
    }  # fmt: skip


def _tell_halves(results: dict[str, HalvesResult], names: list[str]) -> None:
    table = Table(
        "way", "clips: both halves", "first finds second", "second finds first", "clips missed",
        title="Each half looks for the other half of its clip among all halves",
    )  # fmt: skip
    for way, one in results.items():
        missed = ", ".join(Path(names[at]).stem for at in one.missed) if names else str(len(one.missed))
        table.add_row(way, f"{one.both} of {one.total}", str(one.first), str(one.second), missed)
    Console(stderr=True).print(table)


def content_commands(render: Renderer) -> typer.Typer:
    """Return the commands that make and judge the content model from clips that `render` makes."""
    app = typer.Typer(no_args_is_help=True, help="The content model: what a video looks and sounds like, as vectors.")

    @app.command("train")
    def train(
        creators: Annotated[int, typer.Option(min=64, help="Rendered creators, of eight clips each.")] = 300,
        steps: Annotated[int, typer.Option(min=1, help="Steps of each tower.")] = 600,
        seed: Annotated[int, typer.Option(min=0, help="Of the clips and the initial weights.")] = 1,
        out: Weights = DEFAULT,
        as_json: Json = False,
    ) -> None:
        """Train the frames' and the sound's tower from nothing, on clips that are rendered for it; one thread."""
        from model.content.train import train_towers

        manifest = train_towers(
            render, creators, steps, seed, out, lambda text: print(text, file=sys.stderr, flush=True)
        )
        if as_json:
            print(json.dumps({"version": manifest.version, "sha256": manifest.sha256, **manifest.figures}))

    @app.command("evaluate")
    def evaluate(
        topics: Annotated[int, typer.Option(min=2, help="Latent topics.")] = 12,
        clips: Annotated[int, typer.Option(min=2, help="Clips of each topic, every one of its own scene.")] = 6,
        count: Annotated[int, typer.Option("-k", min=1, help="Nearest clips that are looked at.")] = 5,
        scenes: Annotated[
            int, typer.Option(min=0, help="Scenes of three clips each, whose halves look for each other; 0: none.")
        ] = 16,
        seed: Annotated[int, typer.Option(min=0, help="Of the clips; training used other seeds.")] = 77,
        weights: Weights = DEFAULT,
        as_json: Json = False,
    ) -> None:
        """Say how well the vectors of rendered clips, never seen in training, find clips of the same latent topic."""
        from model.content.evaluate import halves_found, topic_precision

        with content_model(load_settings(), weights) as (encoder, decoder, version):
            found = topic_precision(render, encoder, decoder, topics, clips, count, seed)
            halves = halves_found(render, encoder, decoder, scenes, seed) if scenes else {}
        _tell_precision(found, count)
        if halves:
            _tell_halves(halves, [])
        if as_json:
            matched = {"halves": {way: one.both for way, one in halves.items()}} if halves else {}
            print(json.dumps({"content_version": version, "k": count, **found, **matched}))

    return app


def _tell_precision(found: dict[str, float], count: int) -> None:
    table = Table("way", f"precision@{count}", title="Latent topic of rendered clips never seen")
    for way, value in found.items():
        table.add_row(way, f"{value:.3f}")
    Console(stderr=True).print(table)
