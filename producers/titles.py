"""Made-up words in several scripts, for titles and tags."""

from __future__ import annotations

import numpy as np

from streams.config import ConfigError

_LATIN = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
_CYRILLIC = [c + v for c in "бвгдклмнпрст" for v in "аеиоу"]
_GREEK = [c + v for c in "βγδκλμνπρστ" for v in "αειου"]
_ARABIC = [c + v for c in "بتجدرسعفكلمن" for v in ("ا", "و", "ي", "")]
_DEVANAGARI = [c + v for c in "कगचजतदनपबमरलस" for v in ("", "ा", "ि", "ी", "ु", "े", "ो")]
_KANA = list("あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわ")
_HANGUL = [chr(0xAC00 + 588 * i + 28 * j) for i in range(0, 19, 2) for j in (0, 4, 8, 13, 20)]
_HAN = list("天地人山水火木金土日月星雨雪風花草鳥魚馬犬猫米茶酒刀弓車舟門家城海川石玉衣食光音色力心手足目口耳")

SCRIPTS: dict[str, list[str]] = {
    "latin": _LATIN,
    "cyrillic": _CYRILLIC,
    "greek": _GREEK,
    "han": _HAN,
    "kana": _KANA,
    "hangul": _HANGUL,
    "arabic": _ARABIC,
    "devanagari": _DEVANAGARI,
}


def syllables(script: str) -> list[str]:
    """Return the syllables of a script.

    Raises:
      ConfigError: the script is not known; the message lists those that are.
    """
    if script not in SCRIPTS:
        raise ConfigError(f"script {script!r} is not known; known are {', '.join(SCRIPTS)}")
    return SCRIPTS[script]


def words(rng: np.random.Generator, script: str, count: int) -> list[str]:
    """Return `count` made-up words of two or three syllables."""
    parts = syllables(script)
    return ["".join(rng.choice(parts, int(rng.integers(2, 4)))) for _ in range(count)]


def title(rng: np.random.Generator, vocabulary: list[str]) -> str:
    """Return a title of two to five words of the vocabulary."""
    return " ".join(rng.choice(vocabulary, int(rng.integers(2, 6)))).capitalize()
