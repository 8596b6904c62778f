"""Clips that the project renders itself: pictures and sound that follow from a topic vector and two seeds.

A *scene* (place, people, palette) follows from the topic and the scene's seed; the clip's own seed moves what is in it.
So clips of one scene look alike and differ in what happens, as the clips of one creator do. Everything is a pure
function of its arguments: a frame can be rendered alone, at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, pi, sin, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from producers.drawing import Floats, Picture, Shape, Texture, backdrop, hsv

#: What of a clip the topic decides (each uniform in [0, 1) over topics).
TRAITS = (
    "hue", "hue_step", "saturation", "value", "ground_hue", "ground_value", "corners", "spike", "size", "count",
    "speed", "path", "turning", "frequency", "angle", "checker", "texture", "cloudiness", "people", "gesture",
    "panels", "cuts", "pitch", "tempo", "timbre", "noise", "mode", "melody",
)  # fmt: skip
FOLLOWS_TOPIC = 0.8  # share of a trait's variance that is the topic's; the rest is the scene's own

_SKIN = ((0.07, 0.35, 0.95), (0.06, 0.45, 0.75), (0.05, 0.55, 0.5), (0.05, 0.6, 0.35))
_SCALES = ((0, 2, 4, 7, 9), (0, 3, 5, 7, 10), (0, 1, 5, 7, 8), (0, 2, 4, 6, 10))


@dataclass(frozen=True)
class Motion:
    """A path about a centre, in heights of the picture and seconds."""

    centre: tuple[float, float]
    swing: tuple[float, float]
    rate: tuple[float, float]
    phase: tuple[float, float]
    angular: float

    def at(self, t: float, sharpness: float) -> tuple[float, float]:
        """Return the place at `t` seconds; sharpness 0 swings, 1 bounces between walls."""
        x, y = (_wave(t * rate + phase, sharpness) for rate, phase in zip(self.rate, self.phase, strict=True))
        return self.centre[0] + self.swing[0] * x, self.centre[1] + self.swing[1] * y


@dataclass(frozen=True)
class Thing:
    """A moving shape and how it is painted."""

    shape: Shape
    motion: Motion
    colour: Floats
    second: Floats
    texture: Texture


@dataclass(frozen=True)
class Person:
    """A figure from the waist up whose hands go from rest to a pose, hold it and go back, again and again."""

    x: float
    scale: float
    skin: Floats
    hair: Floats
    cloth: tuple[Floats, Floats]
    texture: Texture
    poses: tuple[tuple[float, float, float, float], ...]  # left hand x, y, right hand x, y; one after the other
    period_s: float
    phase: float
    sway: float
    drift: float  # of the whole figure, in heights of the picture per second


@dataclass(frozen=True)
class Shot:
    """What is seen between two cuts."""

    ground: tuple[Floats, Floats]
    texture: Texture
    clouds: Floats
    cloudiness: float
    panels: tuple[tuple[tuple[float, float], Shape, float, Floats], ...]
    things: tuple[Thing, ...]
    people: tuple[Person, ...]
    sharpness: float


@dataclass(frozen=True)
class Clip:
    """A clip, ready to be rendered at any time.

    Attributes:
      traits: name to value in [0, 1).
      shots, shot_s: what is seen in turn, and the length of each in seconds.
      light: [3], gain of each colour; two recordings at one place differ a little in it.
    """

    seed: int
    traits: dict[str, float]
    duration_s: float
    shots: tuple[Shot, ...]
    shot_s: float
    light: Floats


def _wave(turns: float, sharpness: float) -> float:
    triangle = 4.0 * abs(turns % 1.0 - 0.5) - 1.0
    return (1.0 - sharpness) * sin(2 * pi * turns) + sharpness * triangle


def _rng(*words: int | str) -> np.random.Generator:
    return np.random.default_rng([hash_word(word) for word in words])


def hash_word(word: int | str) -> int:
    """Return a seed word: the number itself, or one made of the letters."""
    return int.from_bytes(word.encode(), "little") if isinstance(word, str) else word & 0xFFFFFFFF


def traits(topic: NDArray[np.floating[Any]], scene_seed: int) -> dict[str, float]:
    """Return the traits of a scene: normal scores, mostly of the topic [D], as uniform numbers in [0, 1)."""
    directions = _rng("traits").normal(size=(len(TRAITS), len(topic)))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    unit = np.asarray(topic, np.float64) / max(float(np.linalg.norm(topic)), 1e-9)
    own = _rng("scene", scene_seed).normal(size=len(TRAITS))
    scores = sqrt(FOLLOWS_TOPIC * len(topic)) * directions @ unit + sqrt(1 - FOLLOWS_TOPIC) * own
    return {
        name: min(0.5 + 0.5 * erf(score / sqrt(2)), 0.999) for name, score in zip(TRAITS, scores.tolist(), strict=True)
    }


def plan(topic: NDArray[np.floating[Any]], scene_seed: int, seed: int, duration_s: float) -> Clip:
    """Return the clip of a topic [D]: the place and people by `scene_seed`, what happens in it by `seed`."""
    found = traits(topic, scene_seed)
    count = 1 + int(max(0.0, found["cuts"] - 0.6) * 10)
    shots = tuple(_shot(found, scene_seed, seed, number) for number in range(min(count, 4)))
    rng = _rng("light", scene_seed, seed)
    light = 1.0 + 0.03 * rng.normal() + 0.015 * rng.normal(size=3)
    return Clip(seed, found, duration_s, shots, max(duration_s / 6.0, 0.7), light.astype(np.float32))


def _shot(look: dict[str, float], scene_seed: int, seed: int, number: int) -> Shot:
    place, action = _rng("place", scene_seed, number), _rng("action", scene_seed, seed, number)
    ground = hsv(look["ground_hue"], 0.15 + 0.5 * look["saturation"] * place.random(), 0.2 + 0.7 * look["ground_value"])
    other = hsv(look["ground_hue"] + 0.1 * place.normal(), 0.4 * look["saturation"], 0.3 + 0.6 * look["ground_value"])
    grain = Texture(
        1.0 + 5.0 * look["frequency"], pi * look["angle"], float(look["checker"] > 0.6), 0.2 + 0.5 * look["texture"]
    )
    things = 0 if look["people"] > 0.8 else 1 + int(4 * look["count"])
    people = int(look["people"] > 0.45) + int(look["people"] > 0.93)
    return Shot(
        ground=(ground, other),
        texture=grain,
        clouds=place.normal(size=(5, 6)).astype(np.float32) * 0.5,
        cloudiness=0.3 * look["cloudiness"],
        panels=tuple(_panel(look, place, action) for _ in range(int(5 * look["panels"]))),
        things=tuple(_thing(look, place, action) for _ in range(things)),
        people=tuple(_person(look, place, action, index, people) for index in range(people)),
        sharpness=look["path"],
    )


def _panel(
    look: dict[str, float], place: np.random.Generator, action: np.random.Generator
) -> tuple[tuple[float, float], Shape, float, Floats]:
    """Return a piece of furniture; it stands nearly at the same place in all clips of a scene."""
    x, y = place.uniform(-0.8, 0.8), place.uniform(-0.4, 0.6)
    shape = Shape(place.uniform(0.08, 0.3), 4, 0.0, place.uniform(0.4, 1.6))
    colour = hsv(look["hue"] + 0.2 * place.normal(), place.uniform(0.1, 0.9), place.uniform(0.1, 0.95))
    at = (x + 0.025 * action.normal(), y + 0.02 * action.normal())
    return at, shape, place.uniform(-0.15, 0.15) + pi / 4, colour


def _thing(look: dict[str, float], place: np.random.Generator, action: np.random.Generator) -> Thing:
    colours = [
        hsv(look["hue"] + k * look["hue_step"] * 0.5 + 0.03 * place.normal(), 0.3 + 0.7 * look["saturation"], value)
        for k, value in ((0, 0.4 + 0.6 * look["value"]), (1, place.uniform(0.2, 1.0)))
    ]
    corners = 24 if look["corners"] > 0.75 else 3 + int(6 * look["corners"])
    shape = Shape(
        (0.05 + 0.16 * look["size"]) * place.uniform(0.8, 1.3), corners, 0.65 * look["spike"], place.uniform(0.8, 1.3)
    )
    grain = Texture(4.0 + 12.0 * look["frequency"], pi * look["angle"], float(look["checker"] > 0.5), look["texture"])
    rate = 0.08 + 0.9 * look["speed"] ** 2
    swing = place.uniform(0.05, 0.35, 2) * (0.5 + 0.5 * action.random(2))
    motion = Motion(
        centre=(float(action.uniform(-0.45, 0.45)), float(action.uniform(-0.3, 0.3))),
        swing=(float(swing[0]), float(swing[1])),
        rate=(rate * float(place.choice([0.5, 1.0, 1.5])), rate * float(place.choice([0.5, 1.0, 2.0]))),
        phase=(float(action.random()), float(action.random())),
        angular=float(4.0 * (look["turning"] - 0.5) * action.uniform(0.7, 1.3)),
    )
    return Thing(shape, motion, colours[0], colours[1], grain)


def _person(
    look: dict[str, float], place: np.random.Generator, action: np.random.Generator, index: int, people: int
) -> Person:
    skin = hsv(*_SKIN[int(place.integers(len(_SKIN)))])
    cloth = hsv(look["hue"] + 0.05 * place.normal(), look["saturation"], 0.15 + 0.8 * look["value"])
    second = hsv(look["hue"] + look["hue_step"], place.random(), place.random())
    grain = Texture(
        3 + 12 * place.random(), pi * place.random(), float(place.random() > 0.5), look["texture"] * place.random()
    )
    reach = 0.35 + 0.65 * look["gesture"]
    poses = tuple(
        (
            -reach * action.uniform(-0.12, 0.34), action.uniform(-0.3, 0.22),
            reach * action.uniform(-0.12, 0.34), action.uniform(-0.3, 0.22),
        )
        if action.random() < 0.5
        else (-0.17, 0.42, reach * action.uniform(-0.2, 0.34), action.uniform(-0.34, 0.2))
        for _ in range(1 + int(2.5 * action.random() * look["gesture"]))
    )  # fmt: skip
    spot = (index - (people - 1) / 2) * 0.6
    return Person(
        x=spot + 0.12 * place.normal() + 0.03 * action.normal(),
        scale=place.uniform(0.85, 1.2) * (1.0 + 0.02 * action.normal()),
        skin=skin,
        hair=hsv(place.random(), 0.4 * place.random(), place.uniform(0.05, 0.7)),
        cloth=(cloth, second),
        texture=grain,
        poses=poses,
        period_s=3.4 - 2.2 * look["speed"] + 0.6 * action.random(),
        phase=float(action.random()) * 0.3,
        sway=0.01 + 0.02 * look["gesture"],
        drift=0.008 * action.normal(),
    )


def frame(clip: Clip, t: float, height: int, width: int) -> Floats:
    """Render the clip at `t` seconds: [H, W, 3] float32 in [0, 1]."""
    shot = clip.shots[int(t / clip.shot_s) % len(clip.shots)]
    picture = Picture(backdrop(height, width, shot.ground, shot.texture, shot.clouds, shot.cloudiness))
    for at, shape, turn, colour in shot.panels:
        picture.shape(at, shape, turn, colour)
    for person in shot.people:
        _draw(picture, person, t)
    for thing in shot.things:
        where = thing.motion.at(t, shot.sharpness)
        picture.shape(where, thing.shape, thing.motion.angular * t, thing.colour, thing.texture, thing.second)
    return np.asarray(np.minimum(picture.pixels * clip.light, 1.0), np.float32)


def _draw(picture: Picture, person: Person, t: float) -> None:
    """Paint a person: torso, head, hair, and arms whose hands are where the gesture has them."""
    k, sway = person.scale, person.sway * sin(2 * pi * t / person.period_s)
    x, neck = person.x + sway + person.drift * t, -0.12 * k
    cloth, second = person.cloth
    picture.shape((x, neck + 0.42 * k), Shape(0.36 * k, 24, 0.0, 0.52), 0.0, cloth, person.texture, second)
    picture.limb((x - 0.13 * k, neck + 0.08 * k), (x + 0.13 * k, neck + 0.08 * k), 0.1 * k, cloth)
    picture.shape((x, neck - 0.13 * k), Shape(0.105 * k, 24, 0.0, 0.85), 0.0, person.hair)
    picture.shape((x, neck - 0.1 * k), Shape(0.09 * k, 24, 0.0, 0.8), 0.0, person.skin)
    rounds = t / person.period_s + person.phase
    pose = person.poses[int(rounds) % len(person.poses)]
    raised = _gesture(rounds % 1.0)
    tremble = 0.012 * sin(2 * pi * 2.3 * t)
    for side, (hx, hy) in ((-1, pose[:2]), (1, pose[2:])):
        shoulder = (x + side * 0.15 * k, neck + 0.09 * k)
        rest = (side * 0.19, 0.5)
        hand = (
            x + k * (rest[0] + raised * (hx - rest[0])),
            neck + k * (rest[1] + raised * (hy + 0.12 + tremble - rest[1])),
        )
        elbow = ((shoulder[0] + hand[0]) / 2 + side * 0.07 * k, (shoulder[1] + hand[1]) / 2 + 0.05 * k)
        picture.limb(shoulder, elbow, 0.085 * k, cloth * np.float32(0.9))
        picture.limb(elbow, hand, 0.07 * k, cloth * np.float32(0.85))
        picture.shape(hand, Shape(0.045 * k, 24, 0.0), 0.0, person.skin)


def _gesture(u: float) -> float:
    """Return how far the hands are raised, 0 to 1, at `u` of a round: rest, rise, hold, lower, rest."""
    up, down = np.clip((u - 0.12) / 0.2, 0, 1), np.clip((u - 0.68) / 0.2, 0, 1)
    return float(up * up * (3 - 2 * up) - down * down * (3 - 2 * down))


def sound(clip: Clip, start_s: float, seconds: float, rate: int = 16_000) -> Floats:
    """Return `seconds` of the clip's sound from `start_s` on: [n] float32 in [-1, 1], `rate` samples a second.

    A tune on a scale over a drone, with beats of noise; pitch, tempo, timbre, noise and scale follow from the topic,
    the tune from the clip's seed.
    """
    look = clip.traits
    t = start_s + np.arange(int(seconds * rate)) / rate
    beat_s = 0.5 - 0.35 * look["tempo"]
    beat = (t / beat_s).astype(np.int64)
    into = t - beat * beat_s
    steps = _rng("tune", clip.seed).integers(0, 1 + int(2 + 8 * look["melody"]), 16)
    scale = np.array(_SCALES[int(look["mode"] * len(_SCALES))])
    step = steps[beat % 16]
    semitone = scale[step % 5] + 12 * (step // 5)
    base = 110.0 * 2.0 ** (2.5 * look["pitch"])
    fall = 0.05 + 0.9 * look["timbre"]
    tune = _harmonics(base * 2.0 ** (semitone / 12), t, fall) * np.exp(-into / (0.5 * beat_s))
    drone = _harmonics(np.full(len(t), base / 2), t, fall * 0.6)
    hiss = np.random.default_rng([hash_word("hiss"), clip.seed, int(start_s * 1000)]).normal(size=len(t))
    beats = hiss * np.exp(-into / 0.03) * (beat % 2 == 0)
    mixed = 0.35 * tune + 0.12 * drone + 0.3 * look["noise"] * beats + 0.003 * hiss
    return np.asarray(np.clip(mixed, -1.0, 1.0), np.float32)


def _harmonics(pitch: NDArray[np.float64], t: NDArray[np.float64], fall: float) -> NDArray[np.float64]:
    """Return a tone of `pitch` Hz [n] whose k-th harmonic has the strength fall^(k-1)."""
    total = np.zeros(len(t))
    for k in range(1, 5):
        total += fall ** (k - 1) * np.sin(2 * np.pi * k * pitch * t) * (k * pitch < 7_000)
    return total / sum(fall ** (k - 1) for k in range(1, 5))
