"""CIFAR, image folders, .npz, spoken digits and scikit-learn's digits, on small files and on the real
ones."""

from __future__ import annotations

import io
import pickle
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from edgekit.data.mfcc import dct, log_mel, mel_filters, mfcc
from edgekit.errors import BadInput, MissingDependency
from edgekit.registry import datasets
from tests.paths import shared


def write_cifar(folder, label_bytes: int, files: dict[str, int]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    generator, parts = np.random.default_rng(0), {}
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in files.items():
        images = generator.integers(0, 256, (count, 3, 32, 32), np.uint8)
        labels = generator.integers(0, 10, count).astype(np.uint8)
        coarse = np.full((count, label_bytes - 1), 19, np.uint8)
        (folder / name).write_bytes(np.hstack([coarse, labels[:, None], images.reshape(count, -1)]).tobytes())
        parts[name] = images, labels
    return parts


CIFAR10 = {**{f"data_batch_{index}.bin": 3 for index in range(1, 6)}, "test_batch.bin": 4}


@pytest.mark.parametrize("place", ["", "cifar-10-batches-bin"])
def test_cifar10_binary_comes_back(tmp_path, place):
    parts = write_cifar(tmp_path / place, 1, CIFAR10)
    data = datasets.get("cifar10")(root=str(tmp_path))
    np.testing.assert_array_equal(
        data.train_x, np.concatenate([parts[f"data_batch_{i}.bin"][0] for i in range(1, 6)])
    )
    np.testing.assert_array_equal(data.test_x, parts["test_batch.bin"][0])
    np.testing.assert_array_equal(data.test_y, parts["test_batch.bin"][1])
    assert data.classes[3] == "cat"


@pytest.mark.parametrize("in_folder", [True, False])
def test_cifar100_takes_the_fine_label_and_its_names_from_the_archive(tmp_path, in_folder):
    parts = write_cifar(tmp_path / "raw", 2, {"train.bin": 5, "test.bin": 4})
    (tmp_path / "raw" / "fine_label_names.txt").write_text(
        "\n".join(f"name{index}" for index in range(100)) + "\n\n"
    )
    archive = tmp_path / "data" / "cifar-100-binary.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as file:
        file.add(tmp_path / "raw", "cifar-100-binary")
    data = datasets.get("cifar100")(root=str(archive.parent if in_folder else archive))
    np.testing.assert_array_equal(data.train_y, parts["train.bin"][1])
    np.testing.assert_array_equal(data.train_x, parts["train.bin"][0])
    assert (len(data.classes), data.classes[42]) == (100, "name42")


@pytest.mark.parametrize("name", ["cifar-10-batches-py", "cifar-10-python.tar.gz"])
@pytest.mark.parametrize("inside", [True, False])
def test_the_pickled_version_is_refused_by_name_and_never_read(tmp_path, name, inside):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was read",))

    path = tmp_path / name
    if name.endswith("py"):
        path.mkdir()
        (path / "data_batch_1").write_bytes(pickle.dumps(Bomb()))
    else:
        path.write_bytes(b"\x1f\x8b")
    with pytest.raises(BadInput, match=rf"{name}.*pickled.*cifar-10-binary\.tar\.gz"):
        datasets.get("cifar10")(root=str(tmp_path if inside else path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "data_batch_3.bin").unlink(), "data_batch_3.bin not found"),
        (lambda folder: (folder / "test_batch.bin").write_bytes(b"123"), "no multiple of 3073"),
        (
            lambda folder: (folder / "test_batch.bin").write_bytes(bytes([77]) + bytes(3072)),
            "there are 10 classes",
        ),
    ],
)
def test_broken_cifar_is_one_line(tmp_path, change, message):
    write_cifar(tmp_path, 1, CIFAR10)
    change(tmp_path)
    with pytest.raises(BadInput, match=message):
        datasets.get("cifar10")(root=str(tmp_path))


def test_cifar_nowhere_names_the_place(tmp_path):
    with pytest.raises(BadInput, match=r"looked in: .*none\).*download: true"):
        datasets.get("cifar10")(root=str(tmp_path / "none"))


def write_images(
    folder, sizes: tuple[tuple[int, int], ...] = ((6, 5),), test: str = "test"
) -> dict[str, np.ndarray]:
    generator, images = np.random.default_rng(0), {}
    for part in ("train", test):
        for label in ("cat", "ape"):
            for index in range(3):
                path = folder / part / label / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                image = generator.integers(0, 256, (*sizes[index % len(sizes)], 3), np.uint8)
                Image.fromarray(image).save(path)
                images[f"{part}/{label}/{index}"] = image
    return images


def archive_of(folder, kind: str):
    path = folder.parent / f"images{kind}"
    if kind == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            for item in sorted(folder.rglob("*.png")):
                file.write(item, f"top/{item.relative_to(folder)}")
    else:
        with tarfile.open(path, f"w:{kind.rpartition('.')[2]}") as file:
            file.add(folder, "top")
    return path


@pytest.mark.parametrize("kind", ["", ".zip", ".tar.xz", ".tar.gz"])
@pytest.mark.parametrize("test", ["test", "val"])
def test_an_image_folder_or_archive_comes_back(tmp_path, kind, test):
    images = write_images(tmp_path / "raw", test=test)
    (tmp_path / "raw/train/cat/._0.png").write_bytes(b"what macOS leaves")
    root = archive_of(tmp_path / "raw", kind) if kind else tmp_path / "raw"
    data = datasets.get("image-folder")(root=str(root), mean=[0.1, 0.2, 0.3], std=0.5)
    assert data.classes == ("ape", "cat")
    assert data.test_x.shape == (6, 3, 6, 5)
    for part, x, y in (("train", data.train_x, data.train_y), (test, data.test_x, data.test_y)):
        expected = {
            images[key].transpose(2, 0, 1).tobytes(): key.split("/")[1] for key in images if part in key
        }
        assert {image.tobytes(): data.classes[label] for image, label in zip(x, y, strict=True)} == expected
    assert data.preprocessing.mean == (0.1, 0.2, 0.3)


def test_images_are_resized_and_greyed_on_demand(tmp_path):
    write_images(tmp_path, sizes=((6, 5), (8, 9)))
    with pytest.raises(BadInput, match=r"2 sizes.*Give size"):
        datasets.get("image-folder")(root=str(tmp_path))
    data = datasets.get("image-folder")(root=str(tmp_path), size=[4, 7], color="GRAY")
    assert data.shape == (1, 4, 7)
    assert data.preprocessing.resize == (4, 7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: (folder / "train/cat/0.png").write_bytes(b"no image"),
            "cat/0.png' is no readable image",
        ),
        (lambda folder: [path.unlink() for path in folder.glob("test/*/*")], "an image in test/CLASS/"),
    ],
)
def test_a_broken_image_folder_is_one_line(tmp_path, change, message):
    write_images(tmp_path)
    change(tmp_path)
    with pytest.raises(BadInput, match=message):
        datasets.get("image-folder")(root=str(tmp_path))


def test_an_archive_that_is_none_is_one_line(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"nothing")
    with pytest.raises(BadInput, match="cannot be read"):
        datasets.get("image-folder")(root=str(tmp_path / "a.zip"))


def test_npz_comes_back_with_and_without_labels(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(6, 4)), np.array([0, 1, 2, 0, 1, 2])
    np.savez(tmp_path / "a.npz", train_x=x, test_x=x[:2], train_y=y, test_y=y[:2])
    data = datasets.get("npz")(root=str(tmp_path / "a.npz"))
    np.testing.assert_array_equal(data.train_x, x.astype(np.float32))
    assert (data.classes, data.train_y.dtype) == (("0", "1", "2"), np.int64)
    np.savez(tmp_path / "b.npz", train_x=x, test_x=x[:2])
    assert datasets.get("npz")(root=str(tmp_path / "b.npz")).train_y is None


def test_npz_of_channels_last_images_becomes_nchw(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), np.uint8)
    np.savez(tmp_path / "a.npz", train_x=x, test_x=x, classes=np.array(["a", "b"]))
    data = datasets.get("npz")(root=str(tmp_path / "a.npz"), layout="NHWC", scale=1 / 255)
    np.testing.assert_array_equal(data.test_x, x.transpose(0, 3, 1, 2))
    assert (data.preprocessing.layout, data.train_x.dtype, data.classes) == ("NCHW", np.uint8, ("a", "b"))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train_x": np.zeros((2, 2))}, "has no array 'test_x', only train_x"),
        ({"train_x": np.array([[None]], object), "test_x": np.zeros((1, 1))}, "cannot be read"),
        ({"train_x": np.full((2, 2), np.nan), "test_x": np.zeros((1, 2))}, "'train_x' .* NaN"),
        ({"train_x": np.array([["a"]]), "test_x": np.zeros((1, 1))}, "Give numbers"),
    ],
)
def test_npz_that_cannot_work_is_one_line(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(BadInput, match=message):
        datasets.get("npz")(root=str(tmp_path / "a.npz"))


def test_npz_that_is_none_is_one_line(tmp_path):
    (tmp_path / "a.npz").write_bytes(pickle.dumps({}))
    with pytest.raises(BadInput, match="cannot be read"):
        datasets.get("npz")(root=str(tmp_path / "a.npz"))


@pytest.mark.parametrize("name", ["npz", "image-folder"])
def test_data_of_ones_own_need_a_root(name):
    with pytest.raises(BadInput, match=r"Give (it|its path) as root"):
        datasets.get(name)()
    with pytest.raises(BadInput, match="nothing to download"):
        datasets.get(name)(download=True)


def write_fsdd(path) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    lengths = generator.integers(1000, 12000, 24)
    values = {
        "audio": generator.integers(-9000, 9000, lengths.sum()).astype(np.int16),
        "offset": np.concatenate([[0], np.cumsum(lengths)]),
        "digit": (np.arange(24) % 2).astype(np.uint8),
        "speaker": np.repeat(["ann", "bob"], 12),
        "index": (np.arange(24) // 2 % 6).astype(np.uint8),
    }
    np.savez(path, **values)
    return values


def test_fsdd_splits_by_recording_or_by_speaker(tmp_path):
    values = write_fsdd(tmp_path / "fsdd.npz")
    data = datasets.get("fsdd")(root=str(tmp_path))
    assert (data.train_x.shape, data.test_x.shape) == ((4, 1, 49, 10), (20, 1, 49, 10))
    assert data.groups.tolist() == ["ann", "ann", "bob", "bob"]
    np.testing.assert_array_equal(data.test_y, values["digit"][values["index"] < 5])
    unseen = datasets.get("fsdd")(root=str(tmp_path), held_out="bob", features="log-mel")
    assert (set(unseen.groups), unseen.test_x.shape) == ({"ann"}, (12, 1, 49, 40))
    for options, message in (({"held_out": "bop"}, "Did you mean 'bob'"), ({"features": "mfc"}, "'mfcc'")):
        with pytest.raises(BadInput, match=message):
            datasets.get("fsdd")(root=str(tmp_path), **options)


def test_fsdd_is_standardized_by_its_training_part(tmp_path):
    write_fsdd(tmp_path / "fsdd.npz")
    data = datasets.get("fsdd")(root=str(tmp_path))
    x = np.concatenate([batch.numpy() for batch, _ in data.loaders(batch=2).train])
    assert abs(x.mean()) < 1e-4
    assert abs(x.std() - 1) < 1e-4


def test_a_tone_lights_the_mel_band_it_lies_in():
    time = np.arange(8000) / 8000
    for tone in (300, 1000, 3000):
        spectrum = log_mel(
            np.sin(2 * np.pi * tone * time).astype(np.float32)[None], rate=8000, window=320, hop=160
        )
        assert spectrum.shape == (1, 49, 40)
        corners = np.linspace(*(2595 * np.log10(1 + edge / 700) for edge in (20, 4000)), 42)
        band = np.argmin(np.abs(corners[1:-1] - 2595 * np.log10(1 + tone / 700)))
        assert (np.abs(spectrum[0].argmax(1) - band) <= 1).all()


def test_mel_filters_sum_to_one_between_the_outer_peaks():
    filters = mel_filters(40, 257, 8000)
    assert filters.min() >= 0
    assert filters.max() <= 1
    frequencies = np.linspace(0, 4000, 257)
    inner = (frequencies > 120) & (frequencies < 3700)
    np.testing.assert_allclose(filters.sum(0)[inner], 1, atol=1e-5)


def test_dct_is_orthonormal_and_mfcc_is_its_product():
    np.testing.assert_allclose(dct(40, 40) @ dct(40, 40).T, np.eye(40), atol=1e-5)
    scipy = pytest.importorskip("scipy.fft")
    signal = np.random.default_rng(0).normal(size=(2, 8000)).astype(np.float32)
    energies = log_mel(signal, rate=8000, window=320, hop=160)
    expected = scipy.dct(energies, type=2, norm="ortho", axis=-1)[..., :10]
    np.testing.assert_allclose(mfcc(signal, rate=8000, window=320, hop=160), expected, atol=1e-4)


def test_digits_are_split_by_class():
    pytest.importorskip("sklearn")
    data = datasets.get("digits")()
    assert (len(data.train_x) + len(data.test_x), data.shape, data.train_x.max()) == (1797, (1, 8, 8), 16)
    counts = np.bincount(data.test_y) / (np.bincount(data.test_y) + np.bincount(data.train_y))
    assert np.abs(counts - 0.2).max() < 0.01
    assert not {x.tobytes() for x in data.train_x} & {x.tobytes() for x in data.test_x}


def test_digits_without_scikit_learn_are_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingDependency, match="scikit-learn"):
        datasets.get("digits")()


def test_real_mnist_and_fsdd():
    digits = datasets.get("mnist")(root=str(shared("mnist")))
    assert (len(digits.train_x), len(digits.test_x)) == (10_000, 10_000)
    spoken = datasets.get("fsdd")(root=str(shared("fsdd")))
    assert (len(spoken.train_x), len(spoken.test_x), len(set(spoken.groups))) == (2700, 300, 6)


def test_real_cifar_images_are_the_lossless_ones_but_for_jpeg(tmp_path):
    lossless = np.load(shared("cifar10-jpeg/cifar10-lossless200.npz"), allow_pickle=False)
    with (
        tarfile.open(shared("cifar10-jpeg/cifar10-jpeg.tar.xz")) as archive,
        tarfile.open(tmp_path / "few.tar.gz", "w:gz") as few,
    ):
        for member in archive:
            if member.isfile() and int(member.name[-8:-4]) < 20:
                content = archive.extractfile(member).read()
                few.addfile(member, io.BytesIO(content))
    data = datasets.get("cifar10")(root=str(tmp_path / "few.tar.gz"))
    assert (data.train_x.shape, data.test_x.shape) == ((200, 3, 32, 32), (200, 3, 32, 32))
    assert data.classes == tuple(lossless["classes"].tolist())
    assert abs(data.train_x.mean() - lossless["x"].mean()) < 8
