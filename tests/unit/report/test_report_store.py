import io
import math
import os

import numpy as np
import pytest

from report.errors import UsageError
from report.store import prepare, read_arrays, read_json, write, write_arrays, write_json


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "file"
    write(path, b"first")
    write(path, b"second")
    assert path.read_bytes() == b"second"
    assert os.listdir(tmp_path) == ["file"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    write(path, b"first")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(step, full)
    with pytest.raises(OSError, match="No space"):
        write(path, b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]


def test_an_interrupt_while_writing_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write(path, b"first")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write(path, b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]


def test_json_comes_back_and_has_no_nan(tmp_path):
    path = tmp_path / "a.json"
    content = {"θ": [1.5, None, "−"], "epochs": 3}
    write_json(path, content)
    assert read_json(path) == content
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, [math.nan])
    assert read_json(path) == content


def test_arrays_come_back_and_the_same_arrays_are_the_same_bytes(tmp_path):
    arrays = {"x.y": np.arange(6.0).reshape(2, 3), "n": np.array("text")}
    for name in ("a.npz", "b.npz"):
        write_arrays(tmp_path / name, arrays)
    found = read_arrays(tmp_path / "a.npz")
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("read", [read_json, read_arrays])
def test_what_cannot_be_read_is_told(tmp_path, read):
    path = tmp_path / "a.json"
    with pytest.raises(UsageError, match="there is no such file; `python -m report --out"):
        read(path)
    np.save(tmp_path / "a.npy", np.zeros(3))
    whole = io.BytesIO()
    np.savez_compressed(whole, a=np.random.default_rng(0).normal(size=1000))
    damaged = bytearray(whole.getvalue())
    damaged[500:600] = bytes(100)
    for content in (b"", b"PK\x03\x04 half of a", (tmp_path / "a.npy").read_bytes(), whole.getvalue()[:2000], damaged):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"a\.json: cannot be read as"):
            read(path)


def test_a_directory_is_made_and_a_file_in_its_place_is_told(tmp_path):
    prepare(tmp_path / "a" / "b")
    assert os.listdir(tmp_path / "a" / "b") == []
    (tmp_path / "c").write_text("")
    with pytest.raises(UsageError, match=r"--out .*c: cannot be written \(File exists\)"):
        prepare(tmp_path / "c")
    with pytest.raises(UsageError, match="Not a directory"):
        prepare(tmp_path / "c" / "d")
