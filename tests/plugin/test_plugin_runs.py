"""A layer is looked at once in each mode, on one worker, and the page has everything."""

import re

import pytest

TEXT = """
SPECS = [LayerSpec(build=c, inputs="B D") for c in (Scale, Switched, Hidden)]

@parametrize(SPECS, only=["shapes", "dtypes", "unmutated"], examples=2)
def test_layers(case): case()

@parametrize(LayerSpec(build=Twice, inputs="B D"), only=["parameter_gradient", "shapes"], examples=2)
def test_wrong(case): case()
"""
COUNTS = {"passed": 13, "failed": 1}


def test_siblings_read_what_the_first_item_of_a_mode_has_found(suite, checked):
    suite(TEXT).assert_outcomes(**COUNTS)
    runs = [(name, modes) for name, modes, _ in checked]
    assert runs == [("Scale", ()), ("Switched", ("train",)), ("Switched", ("eval",)), ("Hidden", ()), ("Twice", ())]


def test_what_is_not_selected_is_not_run(suite, checked):
    suite(TEXT, "-k", "Switched and eval").assert_outcomes(passed=3, deselected=11)
    assert [(name, modes) for name, modes, _ in checked] == [("Switched", ("eval",))]


def test_a_mode_that_is_a_keyword_of_forward_is_run_alone_too(suite, checked):
    text = """
class Keyed(Scale):
    def forward(self, x, is_train):
        return super().forward(x)

SPEC = LayerSpec(build=Keyed, inputs="B D", modes={"train": {"is_train": True}, "eval": {"is_train": False}})

@parametrize(SPEC, only=["shapes", "parameter_gradient"], examples=2)
def test_layers(case): case()
"""
    suite(text).assert_outcomes(passed=4)
    assert [(name, modes) for name, modes, _ in checked] == [("Keyed", ("train",)), ("Keyed", ("eval",))]


def test_one_mode_alone_finds_what_both_together_find(items):
    from harness import check

    text = """
@parametrize(LayerSpec(build=Switched, inputs="B D"), examples=3)
def test_layers(case): case()
"""
    cases = [item.callspec.params["case"] for item in items(text)]
    together = check(cases[0].run.spec, examples=3)
    assert tuple(case.result for case in cases) == together.results


def groups(found):
    return {item.name: item.get_closest_marker("xdist_group").args for item in found}


def test_the_items_of_a_layer_in_a_mode_carry_one_group(items):
    found = groups(items(TEXT))
    assert len(found) == 14
    modes = {}
    for name, group in found.items():
        layer, _, mode = re.fullmatch(r".*\[(\w+)-(\w+)-?(\w*)\]", name).groups()
        modes.setdefault((layer, mode), set()).add(group)
    assert modes.keys() == {("Scale", ""), ("Switched", "train"), ("Switched", "eval"), ("Hidden", ""), ("Twice", "")}
    assert all(len(carried) == 1 for carried in modes.values())
    assert len(set().union(*modes.values())) == len(modes)


def results(page):
    """{layer: rows}: what a page shows."""
    sections = re.findall(r"<h2>(\w+): .*?</section>", page, re.DOTALL)
    rows = re.findall(r'<tr class="(\w+)"><td>(\w+)</td><td>(\w*)</td>', page)
    return sections, sorted(rows)


@pytest.fixture
def page(suite, pytester):
    """The page of a run in one process."""
    suite(TEXT, "--gradcheck-html=one.html").assert_outcomes(**COUNTS)
    return (pytester.path / "one.html").read_text(encoding="utf-8")


def test_the_page_has_every_layer_and_result(page):
    sections, rows = results(page)
    assert sections == ["Hidden", "Scale", "Switched", "Twice"]
    assert len(rows) == 14
    assert ("FAIL", "parameter_gradient", "") in rows
    assert ("PASS", "shapes", "train") in rows
    assert ("PASS", "shapes", "eval") in rows
    assert "Twice: WRONG, 1 of 2 checks failed" in page
    assert "13 PASS, 1 FAIL" in page


def test_workers_find_the_same(suite, pytester, page):
    suite(TEXT, "-n", "2", "--gradcheck-html=two.html").assert_outcomes(**COUNTS)
    assert (pytester.path / "two.html").read_text(encoding="utf-8") == page


def test_grouped_workers_find_the_same(suite, pytester, page):
    plain = '@pytest.mark.xdist_group("plain")\ndef test_plain(): pass\n'
    result = suite(TEXT + plain, "-n", "2", "--dist", "loadgroup", "-v", "--gradcheck-html=two.html")
    result.assert_outcomes(**COUNTS | {"passed": COUNTS["passed"] + 1})
    assert (pytester.path / "two.html").read_text(encoding="utf-8") == page
    shown = result.stdout.str()
    if "@plain" not in shown:
        pytest.skip("pytest-xdist 3.8 groups nothing under pytest 9.2")
    workers = {}
    for worker, group in re.findall(r"\[(gw\d)\].*@(gradcheck-\S+)", shown):
        workers.setdefault(group, set()).add(worker)
    assert len(workers) == 5
    assert all(len(used) == 1 for used in workers.values())


def test_without_xdist_all_is_the_same(suite, pytester, page):
    suite(TEXT, "-p", "no:xdist", "--gradcheck-html=none.html").assert_outcomes(**COUNTS)
    assert (pytester.path / "none.html").read_text(encoding="utf-8") == page


def test_layers_of_one_name_in_two_tests_are_two_sections(suite, pytester):
    text = """
@parametrize(LayerSpec(build=Scale, inputs="B D"), only=["shapes"], examples=2)
def test_one(case): case()

@parametrize(LayerSpec(build=Twice, inputs="B D", name="Scale"), only=["parameter_gradient"], examples=2)
def test_two(case): case()
"""
    suite(text, "--gradcheck-html=out.html").assert_outcomes(passed=1, failed=1)
    sections, rows = results((pytester.path / "out.html").read_text(encoding="utf-8"))
    assert sections == ["Scale", "Scale"]
    assert rows == [("FAIL", "parameter_gradient", ""), ("PASS", "shapes", "")]


def test_collecting_leaves_an_old_page_alone(suite, pytester, page):
    old = (pytester.path / "one.html").read_text(encoding="utf-8")
    assert suite(TEXT, "--collect-only", "--gradcheck-html=one.html").ret == 0
    assert (pytester.path / "one.html").read_text(encoding="utf-8") == old
    assert suite(TEXT, "-k", "Hidden", "--gradcheck-html=one.html").ret == 0
    assert (pytester.path / "one.html").read_text(encoding="utf-8") != old
