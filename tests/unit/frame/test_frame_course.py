"""`--specs course.py`: the specs of one file on the layers of many, a row for each."""

import csv

import pytest

COURSE = """
import torch
from harness import LayerSpec
from sample_layers import Switched

def doubled(layer):
    return layer

SCALE = LayerSpec(build="Scale(D)", inputs="B D")
SWITCHED = LayerSpec(build=Switched, inputs="B D")
SHIFT = LayerSpec(build=lambda D: doubled(Shift(D)), inputs="B D", name="Shift")
AFFINE = LayerSpec(build="(affine_forward, affine_backward)", inputs=("B D", "D M", "M"))
"""
ALICE = """
import torch
from sample_layers import Scale as _Scale, Switched as _Switched

class Scale(_Scale): pass

class Switched(_Switched):
    {switched}

class Shift:
    def __init__(self, D): self.b = torch.ones(D)
    def forward(self, x): return x + self.b
    def backward(self, v): self.db = v.sum(0); return v

def affine_forward(x, w, b): return x @ w + b, (x, w)
def affine_backward(v, cache): return v @ cache[1].T, cache[0].T @ v, v.sum(0)
"""
ALL = ["Scale", "Switched", "Shift", "affine"]


@pytest.fixture
def course(folder):
    (folder / "course.py").write_text(COURSE)

    def student(name, switched="pass", **replaced):
        text = ALICE.format(switched=switched)
        for old, new in replaced.items():
            text = text.replace(old, new)
        (folder / name).write_text(text)

    return student


@pytest.fixture
def grade(check, folder):
    def run(*arguments):
        answer = check(*arguments, "--specs", "course.py", "--csv", "out.csv", "--only", "gradient")
        found = {}
        for r in csv.DictReader((folder / "out.csv").read_text().splitlines()):
            found.setdefault((r["target"], r["layer"]), []).append(r)
        return answer, found

    return run


def outcomes(rows):
    return {r["outcome"] for r in rows} - {"SKIP"}


def test_every_spec_is_tried_on_every_file(course, grade):
    course("alice.py")
    course("bob.py", Shift="Moved")
    answer, found = grade("alice.py", "bob.py")
    assert list(found) == [(f, n) for f in ("alice.py", "bob.py") for n in ALL]
    assert [outcomes(rows) for rows in found.values()] == [{"PASS"}] * 6 + [{"ERROR"}, {"PASS"}]
    [missing] = found["bob.py", "Shift"]
    assert (missing["check"], answer.status) == ("build", 4)
    assert missing["reason"].startswith("there is no Shift; it has Scale, Switched, Moved")
    assert answer.out.splitlines()[:2] == [
        "alice.py  Scale: verified, 3 checks passed, 1 not applicable",
        "alice.py  Switched: verified, 6 checks passed, 2 not applicable",
    ]
    assert "bob.py    Shift: not judged" in answer.out
    assert len(answer.out.splitlines()) == 9


def test_a_class_that_is_written_otherwise_is_taken_and_told(course, grade):
    course("alice.py", **{"class Scale": "class scale_"})
    course("bob.py", **{"self.db = v.sum(0)": "self.db = v.mean(0)", "class Shift": "class shift"})
    answer, _ = grade("alice.py:Scale", "bob.py:Shift")
    assert answer.out.startswith(
        "alice.py:Scale  Scale: verified, 3 checks passed, 1 not applicable (it is called scale_ there)\n"
        "bob.py:Shift    Shift: WRONG, 2 of 4 checks failed (it is called shift there) (parameter_gradient: b: "
    )


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("class ScaleLayer", "; did you mean ScaleLayer? then add to the file: Scale = ScaleLayer"),
        ("def scale(D): pass\nclass Wholly", "; did you mean scale? then add to the file: Scale = scale"),
        ("class SCALE: pass\nclass scale", "there is no Scale; it has SCALE, scale, "),
    ],
)
def test_no_other_is_taken_and_the_nearest_is_told(course, grade, written, said):
    course("alice.py", **{"class Scale": written})
    _, found = grade("alice.py:Scale")
    [row] = found["alice.py:Scale", "Scale"]
    assert row["outcome"] == "ERROR"
    assert said in row["reason"]


def test_the_courses_own_layer_does_not_stand_in_for_a_missing_one(course, grade):
    course("alice.py", **{"Switched": "Other"})
    _, found = grade("alice.py")
    assert outcomes(found["alice.py", "Switched"]) == {"ERROR"}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("import os; os.abort()", "crashed the interpreter (SIGABRT)"),
        ("while True: pass", "timed out after 8 s"),
    ],
)
def test_a_fault_costs_its_row_alone(course, grade, fault, said):
    course("alice.py", switched=f"def forward(self, x):\n        {fault}")
    answer, found = grade("alice.py", "--timeout", "8")
    assert [outcomes(rows) for rows in found.values()] == [{"PASS"}, {"ERROR"}, {"PASS"}, {"PASS"}]
    assert found["alice.py", "Switched"][0]["reason"].startswith(said)
    assert answer.status == 4


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("1 / 0", "importing alice.py failed: ZeroDivisionError"),
        ("import os; os._exit(0)", "ended the process with exit status 0"),
        ("while True: pass", "timed out after 8 s"),
    ],
)
def test_a_file_that_can_not_be_imported_has_all_its_rows(course, grade, folder, source, said):
    course("bob.py")
    (folder / "alice.py").write_text(source)
    _, found = grade("alice.py", "bob.py", "--timeout", "8")
    assert list(found) == [(f, n) for f in ("alice.py", "bob.py") for n in ALL]
    for name in ALL:
        [row] = found["alice.py", name]
        assert (row["check"], row["outcome"]) == ("import", "ERROR")
        assert row["reason"].startswith(said)
        assert outcomes(found["bob.py", name]) == {"PASS"}


def test_a_wrong_layer_fails(course, grade):
    course("alice.py", **{"self.db = v.sum(0)": "self.db = 2 * v.sum(0)"})
    answer, found = grade("alice.py")
    assert {r["check"] for r in found["alice.py", "Shift"] if r["outcome"] == "FAIL"} == {
        "parameter_gradient",
        "autograd",
    }
    assert "alice.py  Shift: WRONG, 2 of 4 checks failed (parameter_gradient: b: " in answer.out
    assert " → every entry is 2 times what it should be)\n" in answer.out
    assert answer.status == 1


def test_a_name_chooses_one_row(course, grade):
    course("alice.py")
    _, found = grade("alice.py:Shift")
    assert list(found) == [("alice.py:Shift", "Shift")]


@pytest.mark.parametrize(
    ("source", "arguments", "said"),
    [
        (COURSE, ["--build", "Scale(D)"], "leave out --build and --inputs"),
        ("x = 1", [], "course.py holds no LayerSpec: write LayerSpec(build="),
        ("1 / 0", [], "importing course.py failed: ZeroDivisionError"),
        (COURSE + "AGAIN = LayerSpec(build='Scale(D)', inputs='B D')", [], "two specs have the name 'Scale'"),
    ],
)
def test_a_course_that_can_not_be_used_is_a_usage_error(course, check, folder, source, arguments, said):
    course("alice.py")
    (folder / "course.py").write_text(source)
    answer = check("alice.py", "--specs", "course.py", *arguments)
    assert (answer.status, answer.out) == (2, "")
    assert said in answer.err


def test_a_spec_that_holds_a_layer_itself_is_told_what_to_write(course, grade, folder):
    course("alice.py")
    with (folder / "course.py").open("a") as file:
        file.write("\nMADE = LayerSpec(build=Switched(3), inputs='B 3', name='Made')\n")
    _, found = grade("alice.py")
    assert 'write build="Switched(...)"' in found["alice.py", "Made"][0]["reason"]


WHOLE = [
    ("epochs = int(input('epochs? '))", "importing alice.py failed: EOFError"),
    ("from no_such_package import drive\ndrive.mount('/content')", "importing alice.py failed: No module named"),
    ("def later(x: Tensor) -> Tensor: return x", "importing alice.py failed: NameError: name 'Tensor'"),
    ("import sys; sys.exit(3)", "importing alice.py failed: SystemExit: 3"),
    ("import os; os._exit(3)", "importing alice.py ended the process with exit status 3"),
    ("while True: pass", "importing alice.py timed out after 8 s"),
]


@pytest.mark.parametrize("slope", ["v.sum(0)", "2 * v.sum(0)"])
@pytest.mark.parametrize(("source", "said"), WHOLE)
def test_of_a_file_that_can_not_be_imported_what_it_defines_is_judged(course, grade, folder, source, said, slope):
    course("alice.py", **{"v.sum(0); return": f"{slope}; return"})
    text = (folder / "alice.py").read_text()
    (folder / "alice.py").write_text(source + text)
    answer, found = grade("alice.py", "--timeout", "8")
    right = slope == "v.sum(0)"
    assert [outcomes(rows) - {"PASS"} for rows in found.values()] == [set(), set(), set() if right else {"FAIL"}, set()]
    assert f"harness: {said}" in answer.err
    assert "; run were its imports, definitions and the assignments that they use\n" in answer.err
    assert answer.status == (3 if right else 1)  # it never counts as the file it was not


def test_a_file_with_relative_imports_that_can_not_be_imported_is_judged_too(course, grade, folder):
    (folder / "bobs").mkdir()
    (folder / "bobs" / "__init__.py").touch()
    (folder / "bobs" / "base.py").write_text("class Base: pass")
    course("bobs/layers.py", **{"class Shift": "from .base import Base\n1 / 0\nclass Shift(Base)"})
    answer, found = grade("bobs/layers.py")
    assert [outcomes(rows) for rows in found.values()] == [{"PASS"}] * 4
    assert answer.status == 3


def test_a_course_is_run_as_a_whole_or_not_at_all(course, grade, folder):
    course("alice.py")
    with (folder / "course.py").open("a") as file:
        file.write("\nwhile True: pass\n")
    answer = grade("alice.py", "--timeout", "4")[0]
    assert answer.status == 4
    assert "timed out after 4 s" in answer.out
    assert "run were" not in answer.err
