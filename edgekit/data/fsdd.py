"""The Free Spoken Digit Dataset as MFCC images, with the speaker as the natural owner of a sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgekit.data.dataset import Dataset
from edgekit.data.download import cache_folder, not_found
from edgekit.data.mfcc import log_mel, mfcc
from edgekit.data.npz import read_npz
from edgekit.errors import BadInput, did_you_mean
from edgekit.signature import Preprocessing

RATE, WINDOW, HOP = 8000, 320, 160  # Hz; 40 ms every 20 ms: 49 frames a second, as in MLPerf Tiny
OFFICIAL_TEST = 5  # recordings 0 to 4 of each speaker and digit


def fsdd(
    *,
    root: str | None = None,
    download: bool = False,
    features: str = "mfcc",
    coefficients: int = 10,
    held_out: str | None = None,
) -> Dataset:
    """Spoken digits, float32 [n, 1, 49, 10]; `features: log-mel` gives [n, 1, 49, 40]. Jackson et al. 2018.

    `root` is the .npz (audio int16, offset, digit, speaker, index) or its folder. The official split tests on
    recordings 0 to 4; `held_out` tests on all of one speaker instead. Recordings are cut or padded to 1 s.
    """
    if download:
        raise BadInput("data 'fsdd': there is no download. Give root, the folder of the fsdd .npz file.")
    place = Path(root).expanduser() if root else cache_folder("fsdd")
    path = place if place.is_file() else next(iter(sorted(place.glob("fsdd*.npz"))), None)
    if path is None:
        raise not_found("fsdd", "fsdd*.npz", [place], "Give its folder as root.")
    parts = read_npz(path, ("audio", "offset", "digit", "speaker", "index"))
    x = _features(seconds(parts["audio"], parts["offset"]), features, coefficients)
    test = _test_mask(parts["speaker"], parts["index"], held_out)
    y = parts["digit"].astype(np.int64)
    statistics = Preprocessing(layout="NCHW", mean=(float(x[~test].mean()),), std=(float(x[~test].std()),))
    return Dataset(
        "fsdd",
        x[~test],
        y[~test],
        x[test],
        y[test],
        classes=tuple("0123456789"),
        preprocessing=statistics,
        licence="CC BY-SA 4.0",
        groups=parts["speaker"][~test],
    )


def seconds(audio: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Recordings [n, 8000] in -1..1: recording i is audio[offset[i]:offset[i + 1]], cut or padded at its
    end."""
    signals = np.zeros((len(offset) - 1, RATE), np.float32)
    for row, start, end in zip(signals, offset[:-1], offset[1:], strict=True):
        part = audio[start : min(end, start + RATE)]
        row[: len(part)] = part / 32768.0
    return signals


def _features(signals: np.ndarray, kind: str, coefficients: int) -> np.ndarray:
    if kind == "mfcc":
        return mfcc(signals, coefficients=coefficients, rate=RATE, window=WINDOW, hop=HOP)[:, None]
    if kind == "log-mel":
        return log_mel(signals, rate=RATE, window=WINDOW, hop=HOP)[:, None]
    raise BadInput(f"fsdd: the features '{kind}' are unknown. {did_you_mean(kind, ['mfcc', 'log-mel'])}")


def _test_mask(speaker: np.ndarray, index: np.ndarray, held_out: str | None) -> np.ndarray:
    if held_out is None:
        return index < OFFICIAL_TEST
    if held_out not in speaker:
        raise BadInput(
            f"fsdd: there is no speaker '{held_out}'. {did_you_mean(held_out, set(speaker.tolist()))}"
        )
    return speaker == held_out
