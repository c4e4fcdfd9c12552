"""Fashion-MNIST and MNIST: the shipped sample, and the IDX files from a folder or by download."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import tempfile
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np

from edgekit.data.dataset import Dataset, Parts
from edgekit.data.download import RemoteFile, cache_folder, fetch, not_found
from edgekit.errors import BadInput
from edgekit.signature import Preprocessing

SAMPLE = Path(__file__).parent / "files" / "fashion-mnist-sample.npz"
CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
FASHION_PREPROCESSING = Preprocessing(
    layout="NCHW", scale=1 / 255, mean=(0.2860,), std=(0.3530,), color="GRAY"
)
MNIST_PREPROCESSING = Preprocessing(layout="NCHW", scale=1 / 255, mean=(0.1307,), std=(0.3081,), color="GRAY")

# the digests are of the unpacked files, since mirrors and distributions pack them anew
_FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FASHION_FILES = tuple(
    RemoteFile(_FASHION_URL + name, "sha256", digest, unpacked=True)
    for name, digest in (
        ("train-images-idx3-ubyte.gz", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
        ("train-labels-idx1-ubyte.gz", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
        ("t10k-images-idx3-ubyte.gz", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
        ("t10k-labels-idx1-ubyte.gz", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    )
)
_MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_FILES = tuple(
    RemoteFile(_MNIST_URL + name, "md5", digest)
    for name, digest in (
        ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    )
)


def fashion_mnist(*, root: str | None = None, download: bool = False, full: bool = False) -> Dataset:
    """Fashion-MNIST, uint8 [n, 1, 28, 28]: the shipped 10,000 + 2,000 sample, or all 60,000 + 10,000.

    The full set is taken with `full`, `root` (a folder of IDX files) or `download`. Xiao, Rasul, Vollgraf
    2017.
    """
    if not (full or root or download):
        return _fashion("fashion-mnist-sample", read_sample(SAMPLE))
    parts = _read_full(
        "fashion-mnist",
        root,
        download,
        FASHION_FILES,
        "Install the Debian package dataset-fashion-mnist, give the folder of its IDX files as root, or "
        "set download: true.",
    )
    return _fashion("fashion-mnist", parts)


def mnist(*, root: str | None = None, download: bool = False) -> Dataset:
    """MNIST, uint8 [n, 1, 28, 28], from a folder of IDX files or by download; LeCun, Bottou, Bengio, Haffner
    1998."""
    parts = _read_full(
        "mnist",
        root,
        download,
        MNIST_FILES,
        "Give the folder of its IDX files as root, or set download: true.",
    )
    return Dataset(
        "mnist",
        *parts,
        classes=tuple("0123456789"),
        preprocessing=MNIST_PREPROCESSING,
        licence="CC BY-SA 3.0",
    )


def _fashion(name: str, parts: Parts) -> Dataset:
    return Dataset(
        name, *parts, classes=CLOTHES, preprocessing=FASHION_PREPROCESSING, licence="MIT, Zalando SE"
    )


def _read_full(
    name: str, root: str | None, download: bool, files: tuple[RemoteFile, ...], remedy: str
) -> Parts:
    places = [Path(root).expanduser()] if root else [Path("/usr/share/datasets") / name, cache_folder(name)]
    folder = next(
        (place for place in places if _find(place, "t10k-images-idx3-ubyte", "test-images-idx3-ubyte")), None
    )
    if folder is None and download:
        folder = places[-1]
        for file in files:
            fetch(file, folder)
    if folder is None:
        raise not_found(name, "t10k-images-idx3-ubyte[.gz]", places, remedy)
    return read_folder(folder, name)


def read_folder(folder: Path, name: str) -> Parts:
    """(train_x, train_y, test_x, test_y) of a folder of IDX files; `train10k-` is a known partial training
    set."""
    parts = []
    for prefixes in (("train", "train10k"), ("t10k", "test")):
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
            names = tuple(f"{prefix}-{kind}" for prefix in prefixes)
            path = _find(folder, *names)
            if path is None:
                raise not_found(name, f"{names[0]}[.gz]", [folder], "Put all four IDX files into one folder.")
            parts.append(read_idx(path))
    train_x, train_y, test_x, test_y = parts
    return train_x[:, None], train_y, test_x[:, None], test_y


def _find(folder: Path, *names: str) -> Path | None:
    candidates = (folder / (name + suffix) for name in names for suffix in (".gz", ""))
    return next((path for path in candidates if path.is_file()), None)


def read_idx(path: Path) -> np.ndarray:
    """A uint8 IDX file, gzipped or not: magic 0x0000 08 rank, big-endian int32 sizes, then the values.

    Raises BadInput for a broken file. LeCun's format, http://yann.lecun.com/exdb/mnist.
    """
    try:
        content = path.read_bytes()
        raw = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"data: '{path}' cannot be read: {error}. Fetch the file again.") from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise BadInput(f"data: '{path}' is no uint8 IDX file (magic {raw[:4].hex()}). Fetch the file again.")
    rank = raw[3]
    shape = tuple(int(size) for size in np.frombuffer(raw[4 : 4 + 4 * rank], ">i4"))
    if len(shape) != rank or len(raw) != 4 + 4 * rank + int(np.prod(shape)):
        raise BadInput(
            f"data: '{path}' is cut: {list(shape)} values announced, {len(raw)} bytes there. Fetch it again."
        )
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def read_sample(path: Path) -> Parts:
    """(train_x, train_y, test_x, test_y) of a packed sample, in the order of the original files."""
    unpacked = _unpacked(path)
    images, labels, train = unpacked["images"], unpacked["labels"], int(unpacked["train"])
    return images[:train], labels[:train], images[train:], labels[train:]


def _unpacked(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a packed sample, kept in the cache folder: each of many agents would pay 0.3 s for it."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    kept = cache_folder("unpacked") / f"{path.stem}-{digest[:16]}.npz"
    with suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile), np.load(kept) as found:
        return {name: found[name] for name in ("images", "labels", "train")}
    with np.load(path, allow_pickle=False) as packed:
        size, order = int(packed["size"]), np.argsort(packed["order"])
        raw, labels, train = lzma.decompress(packed["pixels"].tobytes()), packed["labels"], packed["train"]
    # packed column by column and class by class, which xz finds most repetition in
    images = np.frombuffer(raw, np.uint8).reshape(-1, 1, size, size).transpose(0, 1, 3, 2)
    arrays = {"images": np.ascontiguousarray(images[order]), "labels": labels[order], "train": train}
    with suppress(OSError):
        _keep(kept, arrays)
    return arrays


def _keep(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays whole or not at all, under a name of its own: many agents may do so at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with open(handle, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
