"""The kit of codecs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.codecs.codec import BadPayload, Codec, RowSpec
from edgekit.codecs.codec import Row as Values
from edgekit.errors import BadInput, EdgekitError
from edgekit.testing.codec_sample import DTYPES, bound_rows, generator, rows, specs
from edgekit.testing.row import Row, fail, named, need, run_checks

DRAWS = 2000
ROUNDS = 60


def check_codec(codec: Codec) -> list[Row]:
    """A codec: bytes of the length it says, the same values on both ways, its bounds; bad input refused."""
    return run_checks(
        [
            ("is a frozen dataclass", lambda: _frozen(codec)),
            ("has a name, a source and a docstring", lambda: _named(codec)),
            ("has a number of its own", lambda: _numbered(codec)),
            ("rows arrive whole", lambda: _arrives(codec)),
            ("payloads are as long as it says", lambda: _sizes(codec)),
            ("what is seen without bytes is what the bytes say", lambda: _projects(codec)),
            ("the same seed gives the same bytes", lambda: _repeats(codec)),
            ("loses nothing where it says so", lambda: _lossless(codec)),
            ("is unbiased where it says so, within its variance", lambda: _unbiased(codec)),
            ("contracts where it says so", lambda: _contracts(codec)),
            ("what was seen and the residual add up", lambda: _telescopes(codec)),
            ("malformed bytes are refused", lambda: _malformed(codec)),
            ("NaN and infinite values are refused", lambda: _not_finite(codec)),
        ]
    )


def _frozen(codec: Codec) -> str:
    parameters = getattr(type(codec), "__dataclass_params__", None)
    need(parameters is not None and parameters.frozen, "decorate the class with @dataclass(frozen=True)")
    return type(codec).__name__


def _named(codec: Codec) -> str:
    need(bool(codec.source), "the class attribute 'source' is empty: author, year, or 'own'")
    return named(type(codec), codec.name)


def _numbered(codec: Codec) -> str:
    need(
        1 <= codec.number <= 255,
        f"the class attribute 'number' is {codec.number}; it travels as one byte, 1 to 255",
    )
    if codec.remembers:
        return f"{codec.number}, of what it wraps"
    for other in _others(codec):
        need(other.number != codec.number, f"the number {codec.number} is that of '{other.name}'")
        need(other.name != codec.name, f"the name '{codec.name}' is taken")
    return str(codec.number)


def _others(codec: Codec) -> Iterator[type[Codec]]:
    from edgekit.registry import codecs

    for name in codecs.names():
        try:
            known = codecs.get(name)
        except (EdgekitError, ImportError):
            continue
        if known is not type(codec) and isinstance(known.number, int):  # no number of its own: error feedback
            yield known


def _cases(codec: Codec) -> Iterator[tuple[str, RowSpec, Values]]:
    """Every row of every spec, with words for it."""
    for spec in specs():
        for kind, row in rows(spec).items():
            layers = f"{len(spec.bounds)} layer" + "s" * (len(spec.bounds) > 1)
            yield f"a row of {spec.size} values ({kind}, {spec.dtype}, {layers})", spec, row


def _arrives(codec: Codec) -> str:
    count = 0
    for words, spec, row in _cases(codec):
        try:
            _need_row(codec.decode(codec.encode(row, spec, generator()), spec), spec)
        except Exception as error:
            fail(f"{words}: {type(error).__name__}: {error}")
        count += 1
    return f"{count} rows"


def _need_row(row: Any, spec: RowSpec) -> None:
    need(isinstance(row, np.ndarray), f"decode made a {type(row).__name__}, not an array")
    need(row.shape == (spec.size,), f"decode made the shape {list(row.shape)}, not [{spec.size}]")
    need(str(row.dtype) == spec.dtype, f"decode made {row.dtype}, not {spec.dtype}")
    need(bool(np.isfinite(row).all()), "decode made NaN or infinite values; raise BadPayload")


def _sizes(codec: Codec) -> str:
    for words, spec, row in _cases(codec):
        length, size, limit = len(codec.encode(row, spec, generator())), codec.size(spec), codec.limit(spec)
        need(size in (None, length), f"{words} takes {length} bytes, but size says {size}")
        need(length <= limit, f"{words} takes {length} bytes, more than its limit of {limit}")
    spec = RowSpec(1000)
    return f"{codec.size(spec) or 'at most ' + str(codec.limit(spec))} bytes for 1000 float32 values"


def _projects(codec: Codec) -> str:
    for words, spec, row in _cases(codec):
        payload, seen = codec.transmit(row, spec, generator(), _residual(codec, spec))
        pairs = {
            "transmit": (codec.decode(payload, spec), seen),
            "see": (codec.see(row, spec, generator(), _residual(codec, spec)), seen),
            "project": (
                codec.project(row, spec, generator()),
                codec.decode(codec.encode(row, spec, generator()), spec),
            ),
        }
        for name, (one, two) in pairs.items():
            need(_same(one, two), f"{words}: {name} gives other bits than decode(encode)")
    return "project, see and transmit"


def _residual(codec: Codec, spec: RowSpec) -> Values | None:
    return np.zeros(spec.size, spec.dtype) if codec.remembers else None


def _same(one: Values, two: Values) -> bool:
    return one.dtype == two.dtype and one.tobytes() == two.tobytes()


def _repeats(codec: Codec) -> str:
    for words, spec, row in _cases(codec):
        one, two = (codec.encode(row, spec, generator(5)) for _ in range(2))
        need(one == two, f"{words}: two payloads differ; take randomness from the generator given")
    return "every row twice"


def _lossless(codec: Codec) -> str:
    if not codec.lossless:
        return "not declared"
    for words, spec, row in _cases(codec):
        need(_same(codec.project(row, spec, generator()), row), f"{words} does not come back bit for bit")
    return "every row comes back bit for bit"


def _draws(codec: Codec) -> Iterator[tuple[str, RowSpec, Values, npt.NDArray[np.float64]]]:
    """Rows x [d], and for each the errors C(x) - x of many draws [DRAWS, d]."""
    for dtype in DTYPES:
        spec = RowSpec(48, dtype, ((0, 16), (16, 48)))
        for kind, row in bound_rows(spec).items():
            random = generator(7)
            seen = np.array([codec.project(row, spec, random) for _ in range(DRAWS)], np.float64)
            yield f"a row of {spec.size} values ({kind}, {dtype})", spec, row, seen - row


def _unbiased(codec: Codec) -> str:
    if not codec.unbiased:
        return "not declared"
    worst = 0.0
    for words, spec, row, error in _draws(codec):
        _need_zero_mean(words, row, error)
        bound = codec.variance(spec)
        if bound is not None:
            worst = max(worst, _need_bounded(words, row, error, bound, "variance"))
    return f"{DRAWS} draws a row, error at most {worst:.3g} ||x||^2"


def _need_zero_mean(words: str, row: Values, error: npt.NDArray[np.float64]) -> None:
    """Along the row within 4 standard errors, value by value within 5.

    Where no draw differs, within what rarer draws than these could make up for.
    """
    x = row.astype(np.float64)
    length, largest = float(np.linalg.norm(x)), np.abs(x).max()
    rare = 2.0**-14 * float(np.ptp(x)) + float(np.spacing(np.float32(largest)))
    along = error @ (x / length)
    sigma = float(along.std())
    need(
        abs(along.mean()) <= (rare if sigma < 1e-9 * length else 4 * sigma / DRAWS**0.5),
        f"{words}: the mean of {DRAWS} draws is {1 + along.mean() / length:.6g} times the row",
    )
    each = error.std(0)
    limit = 5 * np.maximum(each, np.sqrt(np.square(each).mean())) / DRAWS**0.5
    off = np.abs(error.mean(0)) > np.where(each < 1e-9 * largest, np.maximum(limit, rare), limit)
    need(not off.any(), f"{words}: {off.sum()} values are off by more than 5 standard errors on average")


def _need_bounded(words: str, row: Values, error: npt.NDArray[np.float64], bound: float, name: str) -> float:
    """E||C(x) - x||^2 <= bound ||x||^2 within 4 standard errors and the rounding of a float32; the measured factor."""
    factor = np.square(error).sum(1) / np.square(row.astype(np.float64)).sum()
    seen = float(factor.mean())
    need(
        seen <= bound + 4 * float(factor.std()) / DRAWS**0.5 + 1e-6,
        f"{words}: the mean squared error is {seen:.4g} ||x||^2, but its {name} declares at most {bound:.4g}",
    )
    return seen


def _contracts(codec: Codec) -> str:
    worst = 0.0
    for words, spec, row, error in _draws(codec):
        delta = codec.contraction(spec)
        if delta is None:
            return "not declared"
        need(0 < delta <= 1, f"contraction is {delta:g}, but must be above 0 and at most 1, or None")
        worst = max(worst, _need_bounded(words, row, error, 1 - delta, "contraction"))
    return f"error at most {worst:.3g} ||x||^2"


def _telescopes(codec: Codec) -> str:
    if not codec.remembers:
        return "keeps no residual"
    gaps = [_gap(codec, dtype) for dtype in DTYPES]
    for dtype, gap, most in zip(DTYPES, gaps, (1e-5, 1e-12), strict=True):
        need(
            gap <= most,
            f"{dtype}: after {ROUNDS} rounds what was seen and the residual miss what was to be sent by {gap:.2g}",
        )
    return f"{ROUNDS} rounds, off by {gaps[0]:.1g} in float32 and {gaps[1]:.1g} in float64"


def _gap(codec: Codec, dtype: str) -> float:
    """The relative distance of sum seen + residual from sum sent; both ways must keep the same residual."""
    spec, chance = RowSpec(300, dtype, ((0, 100), (100, 300))), generator(8)
    residual, beside = np.zeros(spec.size, dtype), np.zeros(spec.size, dtype)
    seen, sent = np.zeros(spec.size), np.zeros(spec.size)
    for number in range(ROUNDS):
        row = (0.3 + chance.standard_normal(spec.size)).astype(dtype)
        sent += row
        seen += codec.transmit(row, spec, generator(number), residual)[1]
        codec.see(row, spec, generator(number), beside)
        need(_same(residual, beside), "see keeps another residual than transmit")
    return float(np.linalg.norm(seen + residual - sent) / np.linalg.norm(sent))


def _malformed(codec: Codec) -> str:
    counts = [0, 0]
    for spec in specs():
        good = codec.encode(rows(spec)["normal"], spec, generator())
        for payload in _broken(good):
            refused = _refuses(codec, payload, spec)
            fits = codec.size(spec) in (None, len(payload)) and len(payload) <= codec.limit(spec)
            need(fits or refused, f"{len(payload)} bytes were read for a row that takes {len(good)}")
            counts[refused] += 1
    return f"{counts[1]} payloads refused, {counts[0]} read as finite values"


def _broken(good: bytes) -> Iterator[bytes]:
    chance = generator(9)
    yield from (b"", good[:-1], good[: len(good) // 2], good + b"\0", good + good)
    yield from (b"\xff" * len(good), b"\0" * len(good), good[::-1])
    for _ in range(8):
        yield chance.bytes(len(good))
        place = int(chance.integers(0, len(good) or 1))
        yield good[:place] + chance.bytes(1) + good[place + 1 :]


def _refuses(codec: Codec, payload: bytes, spec: RowSpec) -> bool:
    try:
        row = codec.decode(payload, spec)
    except BadPayload:
        return True
    except Exception as error:
        fail(f"{len(payload)} bytes for {spec.size} values raised {type(error).__name__}, not BadPayload")
    _need_row(row, spec)
    return False


def _not_finite(codec: Codec) -> str:
    for dtype in DTYPES:
        spec = RowSpec(9, dtype)
        for bad in (np.nan, np.inf, -np.inf):
            row, residual = np.ones(9, dtype), _residual(codec, spec)
            row[4] = bad
            _need_refused(codec.encode, row, spec, generator())
            _need_refused(codec.project, row, spec, generator())
            _need_refused(codec.transmit, row, spec, generator(), residual)
            _need_refused(codec.see, row, spec, generator(), residual)
            need(residual is None or not residual.any(), f"a row with {bad} spoilt the residual")
    return "BadInput from encode, project, transmit and see"


def _need_refused(way: Callable[..., Any], row: Values, *others: Any) -> None:
    try:
        way(row, *others)
    except BadInput:
        return
    fail(f"{way.__name__} took a row with {row[4]}; call check_finite first")
