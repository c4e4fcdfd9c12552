"""Mel spectra and their cepstral coefficients, in numpy."""

from __future__ import annotations

import numpy as np


def mel_filters(bands: int, bins: int, rate: int, *, low: float = 20.0) -> np.ndarray:
    """Triangles [bands, bins] whose corners lie evenly on mel(f) = 2595 log10(1 + f / 700), from `low` to
    rate / 2.

    Davis, Mermelstein 1980, with O'Shaughnessy's mel scale.
    """
    top = rate / 2
    mels = np.linspace(2595 * np.log10(1 + low / 700), 2595 * np.log10(1 + top / 700), bands + 2)
    corners = 700 * (10 ** (mels / 2595) - 1)
    frequencies = np.linspace(0, top, bins)
    rise = (frequencies - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    fall = (corners[2:, None] - frequencies) / (corners[2:] - corners[1:-1])[:, None]
    return np.maximum(0, np.minimum(rise, fall)).astype(np.float32)


def dct(count: int, length: int) -> np.ndarray:
    """The first `count` rows [count, length] of the orthonormal DCT-II."""
    rows = np.cos(np.pi / length * (np.arange(length) + 0.5) * np.arange(count)[:, None]) * np.sqrt(
        2 / length
    )
    rows[0] /= np.sqrt(2)
    return rows.astype(np.float32)


def log_mel(
    signals: np.ndarray, *, rate: int, window: int, hop: int, bands: int = 40, floor: float = 1e-6
) -> np.ndarray:
    """log(floor + mel energy) [n, frames, bands] of signals [n, samples] in -1..1, Hann windows."""
    frames = np.lib.stride_tricks.sliding_window_view(signals, window, axis=1)[:, ::hop]
    length = 1 << (window - 1).bit_length()
    filters = mel_filters(bands, length // 2 + 1, rate).T
    hann = np.hanning(window + 1)[:-1].astype(np.float32)
    result = np.empty((*frames.shape[:2], bands), np.float32)
    for index, frame in enumerate(frames):  # one signal at a time: all spectra at once need gigabytes
        power = np.abs(np.fft.rfft(frame * hann, length)) ** 2 / window
        result[index] = np.log(floor + power.astype(np.float32) @ filters)
    return result


def mfcc(signals: np.ndarray, *, coefficients: int = 10, **options: int) -> np.ndarray:
    """Cepstral coefficients [n, frames, coefficients]: the DCT of `log_mel`."""
    energies = log_mel(signals, **options)
    return energies @ dct(coefficients, energies.shape[-1]).T
