"""Sound to pictures: log-mel spectrograms in NumPy."""

from __future__ import annotations

from functools import cache

import numpy as np

from model.content.media import PATCH_SAMPLES, SOUND_RATE
from streams.core.ports import Floats

WINDOW, HOP, FFT, MELS = 400, 160, 512, 40  # 25 ms windows, 10 ms apart
LOW_HZ, HIGH_HZ = 60.0, 7_600.0
ROWS = 1 + (PATCH_SAMPLES - WINDOW) // HOP


def log_mel(sound: Floats) -> Floats:
    """Return pictures [P, ROWS, MELS, 1] of excerpts [P, PATCH_SAMPLES] in [-1, 1], about in [-1, 1].

    The logarithm of the energy in each mel band; silence is -1, a full-scale tone about 1.
    """
    count = len(sound)
    starts = np.arange(ROWS) * HOP
    windows = sound[:, starts[:, None] + np.arange(WINDOW)] * np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    energy = np.abs(np.fft.rfft(windows, FFT, axis=-1)) ** 2
    mels = energy.reshape(-1, FFT // 2 + 1) @ mel_bands()
    levels = np.log10(np.maximum(mels, 1e-5)).reshape(count, ROWS, MELS, 1)
    return np.asarray((levels + 5.0) / 4.5 - 1.0, np.float32)


@cache
def mel_bands() -> Floats:
    """Return triangular bands [FFT/2+1, MELS], equally wide on the mel scale (2595 log10(1 + f/700))."""
    edges_mel = np.linspace(_mel(LOW_HZ), _mel(HIGH_HZ), MELS + 2)
    edges = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    hertz = np.linspace(0.0, SOUND_RATE / 2, FFT // 2 + 1)[:, None]
    rise = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    return np.maximum(np.minimum(rise, fall), 0.0).astype(np.float32)


def _mel(hertz: float) -> float:
    return float(2595.0 * np.log10(1.0 + hertz / 700.0))
