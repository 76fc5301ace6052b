import io
import math
import os

import numpy as np
import pytest

from report.errors import UsageError
from report.store import prepare, read_arrays, read_json, to_json, to_npz, write


def test_files_are_replaced_as_a_whole(tmp_path):
    write(tmp_path, {"a": b"first"})
    write(tmp_path, {"a": b"second", "b": b"other"})
    assert (tmp_path / "a").read_bytes() == b"second"
    assert (tmp_path / "b").read_bytes() == b"other"
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def failing_at(call, error):
    """Like os.fsync, but raises in the call of that number."""
    calls = iter(range(1, 100))

    def failing(*_):
        if next(calls) == call:
            raise error

    return failing


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "killed"])
@pytest.mark.parametrize("call", [1, 2])
def test_a_write_that_fails_leaves_every_file_as_it_was(tmp_path, monkeypatch, call, error):
    write(tmp_path, {"a": b"first", "b": b"other"})
    monkeypatch.setattr("os.fsync", failing_at(call, error))
    with pytest.raises(type(error)):
        write(tmp_path, {"a": b"second", "b": b"third"})
    assert (tmp_path / "a").read_bytes() == b"first"
    assert (tmp_path / "b").read_bytes() == b"other"
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_a_replacement_that_fails_leaves_nothing_beside(tmp_path):
    (tmp_path / "b").mkdir()
    with pytest.raises(IsADirectoryError):
        write(tmp_path, {"b": b"third"})
    assert os.listdir(tmp_path) == ["b"]


def test_json_comes_back_and_has_no_nan(tmp_path):
    content = {"θ": [1.5, None, "−"], "epochs": 3}
    write(tmp_path, {"a.json": to_json(content)})
    assert read_json(tmp_path / "a.json") == content
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json([math.nan])


def test_arrays_come_back_and_the_same_arrays_are_the_same_bytes(tmp_path):
    arrays = {"x.y": np.arange(6.0).reshape(2, 3), "n": np.array("text")}
    write(tmp_path, {"a.npz": to_npz(arrays)})
    found = read_arrays(tmp_path / "a.npz")
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    assert (tmp_path / "a.npz").read_bytes() == to_npz(arrays)


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
