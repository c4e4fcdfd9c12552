"""Images in folders by class: {train,test}/{class}/*.jpg, as a folder or as an archive."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgekit.data.archive import entries, is_archive
from edgekit.data.dataset import Dataset
from edgekit.data.download import not_found
from edgekit.data.loader import channel_values
from edgekit.errors import BadInput, MissingDependency
from edgekit.signature import Preprocessing

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm")
TEST_NAMES = ("test", "val", "validation", "valid")
MODES = {"RGB": "RGB", "GRAY": "L"}


class Images(NamedTuple):
    """The four arrays and the class names, alphabetical."""

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    classes: tuple[str, ...]


def image_folder(
    *,
    root: str | None = None,
    download: bool = False,
    size: int | list[int] | None = None,
    color: str = "RGB",
    scale: float = 1 / 255,
    mean: list[float] | float = 0.0,
    std: list[float] | float = 1.0,
) -> Dataset:
    """Images uint8 [n, 3 or 1, height, width] of root/{train,test|val}/{class}/, a folder, .zip or .tar.

    `size` (side, or [height, width]) resizes; without it all images must agree. mean and std are in units of
    raw * scale. Raises BadInput naming what is missing or does not fit.
    """
    place = Path(root).expanduser() if root else None
    if download:
        raise BadInput(
            "data 'image-folder': there is nothing to download. Give root, the folder of your images."
        )
    if place is None or not (place.is_dir() or is_archive(place)):
        raise not_found(
            "image-folder",
            "a folder with train/CLASS/*.jpg and test/CLASS/*.jpg",
            [place] if place else [],
            "Give it as root.",
        )
    resize = None if size is None else (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    images = read_images(place, color=color, resize=resize)
    preprocessing = Preprocessing(
        layout="NCHW",
        scale=scale,
        mean=channel_values(mean),
        std=channel_values(std),
        resize=resize,
        color=color,
    )
    return Dataset(place.name, *images, preprocessing=preprocessing, licence="your own")


def read_images(source: Path, *, color: str = "RGB", resize: tuple[int, int] | None = None) -> Images:
    """Read every {train,test|val}/{class}/ image below `source`; what lies before train/ in a path is
    skipped."""
    if color not in MODES:
        raise BadInput(f"color: '{color}' is unknown. Known: {', '.join(MODES)}.")
    found: dict[str, list[tuple[str, np.ndarray]]] = {"train": [], "test": []}
    for name, content in entries(source, SUFFIXES):
        place = _place(name)  # None too for the ._ files that macOS puts beside images
        if place is not None:
            part, label = place
            found[part].append((label, _decode(content, f"{source}/{name}", MODES[color], resize)))
    classes = tuple(sorted({label for items in found.values() for label, _ in items}))
    for part, items in found.items():
        if not items:
            raise not_found(
                "image-folder",
                f"an image in {part}/CLASS/",
                [source],
                f"Put images of the kinds {', '.join(SUFFIXES)} there.",
            )
    return Images(*_stack(found["train"], classes, source), *_stack(found["test"], classes, source), classes)


def _place(name: str) -> tuple[str, str] | None:
    """(train or test, class) of a path such as x/val/cat/1.jpg; None where it lies in neither."""
    *folders, file = name.split("/")
    if file.startswith("."):
        return None
    for part, label in itertools.pairwise(folders):
        if part == "train" or part in TEST_NAMES:
            return ("train" if part == "train" else "test"), label
    return None


def _decode(content: bytes, where: str, mode: str, resize: tuple[int, int] | None) -> np.ndarray:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependency("pillow", "host", "reading images") from error
    try:
        with Image.open(io.BytesIO(content)) as image:
            picture = image.convert(mode)
            if resize is not None:
                picture = picture.resize((resize[1], resize[0]), Image.Resampling.BILINEAR)
            return np.asarray(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadInput(f"data: '{where}' is no readable image: {error}. Remove it or replace it.") from error


def _stack(
    items: list[tuple[str, np.ndarray]], classes: tuple[str, ...], source: Path
) -> tuple[np.ndarray, np.ndarray]:
    shapes = {image.shape[:2] for _, image in items}
    if len(shapes) > 1:
        raise BadInput(
            f"data: the images in '{source}' have {len(shapes)} sizes, such as "
            f"{' and '.join(str(list(shape)) for shape in sorted(shapes)[:2])}. Give size to resize them."
        )
    images = np.stack([image for _, image in items])
    images = images[:, None] if images.ndim == 3 else np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    number = {label: index for index, label in enumerate(classes)}
    return images, np.array([number[label] for label, _ in items], np.int64)
