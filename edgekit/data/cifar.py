"""CIFAR-10 and CIFAR-100: the binary version or an image archive; the pickled version is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.data.archive import entries, is_archive
from edgekit.data.dataset import Dataset, Parts
from edgekit.data.download import RemoteFile, cache_folder, fetch, not_found
from edgekit.data.folder import read_images
from edgekit.errors import BadInput
from edgekit.signature import Preprocessing

CLASSES10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Variant:
    """What tells CIFAR-10 from CIFAR-100: files, label bytes (the last is the class), names, statistics."""

    name: str
    archive: RemoteFile
    train: tuple[str, ...]
    test: str
    label_bytes: int
    names: str
    count: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pickled: tuple[str, ...]


CIFAR10 = Variant(
    "cifar10",
    RemoteFile(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "md5", "c32a1d4ab5d03f1284b67883e8d87530"
    ),
    tuple(f"data_batch_{index}.bin" for index in range(1, 6)),
    "test_batch.bin",
    1,
    "batches.meta.txt",
    10,
    (0.4914, 0.4822, 0.4465),
    (0.2470, 0.2435, 0.2616),
    ("cifar-10-python.tar.gz", "cifar-10-batches-py", "data_batch_1"),
)
CIFAR100 = Variant(
    "cifar100",
    RemoteFile(
        "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz", "md5", "03b5dce01913d631647c71ecec9e9cb8"
    ),
    ("train.bin",),
    "test.bin",
    2,
    "fine_label_names.txt",
    100,
    (0.5071, 0.4865, 0.4409),
    (0.2673, 0.2564, 0.2762),
    ("cifar-100-python.tar.gz", "cifar-100-python"),
)


def cifar10(*, root: str | None = None, download: bool = False) -> Dataset:
    """CIFAR-10, uint8 [n, 3, 32, 32], 50,000 + 10,000; Krizhevsky 2009.

    `root` is a folder with the .bin files, the binary tar.gz, or images {train,test}/{class}/ as a folder or
    archive.
    """
    return _load(CIFAR10, root, download)


def cifar100(*, root: str | None = None, download: bool = False) -> Dataset:
    """CIFAR-100 with its 100 fine classes, uint8 [n, 3, 32, 32], 50,000 + 10,000; Krizhevsky 2009."""
    return _load(CIFAR100, root, download)


def _load(variant: Variant, root: str | None, download: bool) -> Dataset:
    place = Path(root).expanduser() if root else cache_folder(variant.name)
    binary = _binary_source(variant, place)
    if binary is not None:
        return _binary_dataset(variant, binary)
    images = _image_source(place)
    if images is not None:
        return _image_dataset(variant, images)
    _refuse_pickle(variant, place)
    if download:
        return _binary_dataset(variant, fetch(variant.archive, place))
    raise not_found(
        variant.name,
        f"{variant.test}, {variant.archive.name} or images {{train,test}}/CLASS/*.jpg",
        [place],
        "Give their folder or archive as root, or set download: true.",
    )


def _binary_source(variant: Variant, place: Path) -> Path | None:
    if is_archive(place) and "binary" in place.name:
        return place
    for folder in (place, place / "cifar-10-batches-bin", place / "cifar-100-binary"):
        if (folder / variant.test).is_file():
            return folder
    archive = place / variant.archive.name
    return archive if archive.is_file() else None


def _image_source(place: Path) -> Path | None:
    if is_archive(place) and "python" not in place.name:
        return place
    if (place / "train").is_dir():
        return place
    archives = [path for path in sorted(place.glob("*")) if is_archive(path) and "python" not in path.name]
    return archives[0] if archives else None


def _refuse_pickle(variant: Variant, place: Path) -> None:
    for name in variant.pickled:
        if place.name == name or (place / name).exists():
            raise BadInput(
                f"data '{variant.name}': '{place}' has the Python version ({name}), which is pickled and "
                f"can run code when it is read. Use the binary version instead: {variant.archive.url}, or "
                "download: true with another root."
            )


def _image_dataset(variant: Variant, source: Path) -> Dataset:
    images = read_images(source)
    if len(images.classes) != variant.count:
        raise BadInput(
            f"data '{variant.name}': '{source}' has {len(images.classes)} class folders, not "
            f"{variant.count}. Give the right archive, or use image-folder for data of your own."
        )
    return _dataset(variant, images[:4], images.classes)


def _binary_dataset(variant: Variant, source: Path) -> Dataset:
    wanted = (*variant.train, variant.test)
    files = {Path(name).name: content for name, content in entries(source, (*wanted, variant.names))}
    missing = [name for name in wanted if name not in files]
    if missing:
        raise not_found(variant.name, missing[0], [source], "The download is not whole: fetch it again.")
    parts = {name: _records(files[name], variant, f"{source}/{name}") for name in wanted}
    train = [parts[name] for name in variant.train]
    train_x, train_y = np.concatenate([x for x, _ in train]), np.concatenate([y for _, y in train])
    return _dataset(
        variant,
        (train_x, train_y, *parts[variant.test]),
        tuple(files.get(variant.names, b"").decode().split()),
    )


def _records(content: bytes, variant: Variant, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Records of label bytes and 3 x 32 x 32 pixels, channel by channel."""
    size = variant.label_bytes + 3 * 32 * 32
    if not content or len(content) % size:
        raise BadInput(
            f"data: '{where}' has {len(content)} bytes, no multiple of {size}. Fetch the file again."
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, size)
    images, labels = rows[:, variant.label_bytes :], rows[:, variant.label_bytes - 1]
    return images.reshape(-1, 3, 32, 32), labels.astype(np.int64)


def _dataset(variant: Variant, parts: Parts, classes: tuple[str, ...]) -> Dataset:
    if len(classes) != variant.count:
        classes = CLASSES10 if variant.count == 10 else tuple(str(index) for index in range(variant.count))
    return Dataset(
        variant.name,
        *parts,
        classes=classes,
        licence="none given; Krizhevsky 2009",
        preprocessing=Preprocessing(
            layout="NCHW", scale=1 / 255, mean=variant.mean, std=variant.std, color="RGB"
        ),
    )
