"""Fashion-MNIST and MNIST: the IDX format, the shipped sample, the checked download."""

from __future__ import annotations

import gzip
import hashlib
import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from edgekit.data import idx
from edgekit.data.download import RemoteFile, fetch
from edgekit.errors import BadInput
from edgekit.registry import datasets
from tests.benchmarks.pack_fashion_mnist import pack
from tests.paths import shared


def idx_bytes(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim])
    return header + b"".join(size.to_bytes(4, "big") for size in values.shape) + values.tobytes()


def write_set(folder, *, train: str = "train", zipped: bool = True) -> dict[str, np.ndarray]:
    generator, parts = np.random.default_rng(0), {}
    folder.mkdir(exist_ok=True)
    for prefix, count in ((train, 20), ("t10k", 10)):
        parts[f"{prefix}-images-idx3-ubyte"] = generator.integers(0, 256, (count, 28, 28), np.uint8)
        parts[f"{prefix}-labels-idx1-ubyte"] = (np.arange(count) % 10).astype(np.uint8)
    for name, values in parts.items():
        content = idx_bytes(values)
        path = folder / (name + ".gz" if zipped else name)
        path.write_bytes(gzip.compress(content) if zipped else content)
    return parts


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("train", ["train", "train10k"])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_a_folder_of_idx_files_comes_back(tmp_path, name, train, zipped):
    parts = write_set(tmp_path, train=train, zipped=zipped)
    data = datasets.get(name)(root=str(tmp_path))
    np.testing.assert_array_equal(data.train_x[:, 0], parts[f"{train}-images-idx3-ubyte"])
    np.testing.assert_array_equal(data.test_y, parts["t10k-labels-idx1-ubyte"])
    assert (data.name, data.shape, len(data.classes)) == (name, (1, 28, 28), 10)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0\0\x0d\x01" + b"\0" * 8, "no uint8 IDX file"),
        (b"", "no uint8 IDX file"),
        (idx_bytes(np.zeros((3, 4), np.uint8))[:-1], "is cut"),
        (b"\x1f\x8b\x08broken", "cannot be read"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path, content, message):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=message):
        idx.read_idx(path)


def test_a_missing_part_and_a_missing_folder_name_the_place(tmp_path):
    write_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(BadInput, match="t10k-labels-idx1-ubyte"):
        datasets.get("mnist")(root=str(tmp_path))
    with pytest.raises(BadInput, match=r"looked in: .*nowhere.*download: true"):
        datasets.get("mnist")(root=str(tmp_path / "nowhere"))


def test_the_shipped_sample_is_balanced_small_and_fast():
    data = datasets.get("fashion-mnist")()
    assert data.train_x.shape == (10_000, 1, 28, 28)
    assert data.test_x.shape == (2_000, 1, 28, 28)
    assert set(np.bincount(data.train_y)) == {1000}
    assert set(np.bincount(data.test_y)) == {200}
    assert len(set(data.train_y[:64])) == 10  # in the original order, not class by class
    assert idx.SAMPLE.stat().st_size < 4_400_000
    assert (idx.SAMPLE.parent / "LICENSE-fashion-mnist").read_text().startswith("The MIT License")


def test_the_shipped_sample_is_of_the_real_set():
    full = datasets.get("fashion-mnist")(root=str(shared("fashion-mnist")))
    sample = datasets.get("fashion-mnist")()
    for part in ("train", "test"):
        known = {
            image.tobytes(): int(label)
            for image, label in zip(getattr(full, f"{part}_x"), getattr(full, f"{part}_y"), strict=True)
        }
        images, labels = getattr(sample, f"{part}_x"), getattr(sample, f"{part}_y")
        assert all(known[image.tobytes()] == label for image, label in zip(images, labels, strict=True))
        assert len({image.tobytes() for image in images}) == len(images)


def test_packing_loses_nothing(tmp_path, monkeypatch):
    parts = write_set(tmp_path)
    monkeypatch.setattr("tests.benchmarks.pack_fashion_mnist.TRAIN", 20)
    monkeypatch.setattr("tests.benchmarks.pack_fashion_mnist.TEST", 10)
    pack(tmp_path, tmp_path / "sample.npz")
    train_x, train_y, test_x, test_y = idx.read_sample(tmp_path / "sample.npz")
    np.testing.assert_array_equal(train_x[:, 0], parts["train-images-idx3-ubyte"])
    np.testing.assert_array_equal(test_x[:, 0], parts["t10k-images-idx3-ubyte"])
    np.testing.assert_array_equal(train_y, parts["train-labels-idx1-ubyte"])
    np.testing.assert_array_equal(test_y, parts["t10k-labels-idx1-ubyte"])


def test_what_was_unpacked_is_kept_and_a_broken_copy_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = idx.read_sample(idx.SAMPLE)
    (kept,) = (tmp_path / "edgekit" / "unpacked").iterdir()
    with monkeypatch.context() as patched:
        patched.setattr(idx.lzma, "decompress", None)  # it is not unpacked again
        second = idx.read_sample(idx.SAMPLE)
    kept.write_bytes(kept.read_bytes()[:1000])
    third = idx.read_sample(idx.SAMPLE)
    for one, two, three in zip(first, second, third, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)
    assert len(list(kept.parent.iterdir())) == 1


def test_without_a_place_to_keep_it_the_sample_is_unpacked_each_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(idx.read_sample(idx.SAMPLE)[0]) == 10_000


def test_the_known_checksums_are_those_of_the_real_files():
    for file in idx.FASHION_FILES:
        content = shared(f"fashion-mnist/{file.name}").read_bytes()
        assert file.matches(content)
        assert not file.matches(content[:-9] + bytes(9))


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{http.server_port}/"
        http.shutdown()


def test_a_download_is_used_after_its_checksum_only(server, tmp_path, monkeypatch):
    folder, url = server
    parts, cache = write_set(folder), tmp_path / "cache"
    files = tuple(
        RemoteFile(f"{url}{name}.gz", "sha256", hashlib.sha256(idx_bytes(values)).hexdigest(), unpacked=True)
        for name, values in parts.items()
    )
    monkeypatch.setattr(idx, "FASHION_FILES", files)
    data = datasets.get("fashion-mnist")(root=str(cache), download=True)
    np.testing.assert_array_equal(data.train_x[:, 0], parts["train-images-idx3-ubyte"])
    stamp = os.stat(cache / files[0].name).st_mtime_ns
    assert fetch(files[0], cache) == cache / files[0].name
    assert os.stat(cache / files[0].name).st_mtime_ns == stamp


def test_a_forged_download_is_not_kept(server, tmp_path):
    folder, url = server
    (folder / "x.gz").write_bytes(b"forged")
    for unpacked in (True, False):
        with pytest.raises(BadInput, match="does not have the known sha256"):
            fetch(RemoteFile(url + "x.gz", "sha256", "0" * 64, unpacked=unpacked), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_an_unreachable_address_is_one_line(tmp_path):
    with pytest.raises(BadInput, match="give its folder as root"):
        fetch(RemoteFile("http://127.0.0.1:9/x", "md5", "0" * 32), tmp_path, timeout=2)
