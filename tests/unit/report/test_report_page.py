"""report.html by itself, and as headless Chromium shows it: no error, every figure there, each with a text alternative."""

import json
import re
import shutil
import subprocess

import pytest

from report.document import publish
from report.figures import all_figures
from report.page import html
from report.results import read

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
LOOK = """<script>addEventListener("load", () => { document.title = JSON.stringify({
  images: [...document.images].map(i => ({width: i.naturalWidth, alt: i.alt})),
  paper: getComputedStyle(document.body).backgroundColor, ink: getComputedStyle(document.body).color,
  tables: document.querySelectorAll("table").length,
  wide: document.documentElement.scrollWidth - document.documentElement.clientWidth}) })</script>"""


@pytest.fixture(scope="module")
def page(finished):
    stored = read(finished)
    publish(stored, finished)
    return (finished / "report.html").read_text()


def test_the_page_needs_nothing_else(page):
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert len(sources) == 4
    assert all(s.startswith("data:image/png;base64,") for s in sources)
    assert "<script" not in page
    assert "url(" not in page
    assert page.startswith("<!doctype html>\n<html lang=")


def test_a_figure_that_is_missing_is_not_inlined():
    assert 'src="curves.png"' in html("# T\n\n![A text alternative](curves.png)", {})
    assert "data:image/png" in html("# T\n\n![A text alternative](curves.png)", {"curves.png": b"x"})


def shown(page, tmp_path, *options):
    """What a script in the page sees, and what the console says."""
    (tmp_path / "page.html").write_text(page.replace("</body>", LOOK + "</body>"))
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--enable-logging=stderr",
    ]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000", *options, "--dump-dom"]
    done = subprocess.run(
        [*command, f"file://{tmp_path}/page.html"], capture_output=True, text=True, timeout=120, check=True
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout).group(1).replace("&quot;", '"')
    return json.loads(title), [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_chromium_shows_every_figure_without_an_error(page, finished, tmp_path):
    seen, console = shown(page, tmp_path)
    assert console == []
    stored = read(finished)
    assert len(seen["images"]) == len(all_figures(stored.summary, stored.arrays)) == 4
    assert all(image["width"] > 300 and len(image["alt"]) > 20 for image in seen["images"])
    assert seen["tables"] >= 8
    assert seen["wide"] <= 0


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_chromium_sees_what_is_wrong_in_a_wrong_page(page, tmp_path):
    broken = re.sub(r'src="data:image/png;base64,[^"]+"', 'src="missing.png"', page, count=1)
    seen, console = shown(broken.replace("</body>", "<script>nonsense()</script></body>"), tmp_path)
    assert any("nonsense is not defined" in line for line in console)
    assert [image["width"] > 0 for image in seen["images"]].count(False) == 1


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_chromium_shows_it_light_and_dark(page, tmp_path):
    def brightness(colour):
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    light, dark = (shown(page, tmp_path, f"--blink-settings=preferredColorScheme={n}")[0] for n in (1, 0))
    assert brightness(light["paper"]) > 700 > 300 > brightness(light["ink"])
    assert brightness(dark["paper"]) < 200 < 600 < brightness(dark["ink"])
