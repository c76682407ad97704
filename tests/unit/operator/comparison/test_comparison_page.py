"""The page: whole in itself, and nothing but text where texts are shown; also in a real browser."""

import re
import shutil
import subprocess
import threading
from collections import Counter
from contextlib import contextmanager
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from compared import ONE, OTHER, Models, corpus, report

from embedsvc.operator.comparison.corpus import Corpus, Text
from embedsvc.operator.comparison.page import REFUSED, render

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOSTILE = '</q><script>document.title = "owned"</script><img src=x onerror=alert(1)>&amp;'
KNOWN = {0: frozenset({1}), 3: frozenset({2, 7})}


class Seen(HTMLParser):
    """What is in a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text = Counter(), [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.attributes += attributes

    def handle_data(self, data):
        self.text += data

    def all_of(self, *names):
        return [value for name, value in self.attributes if name in names]


def hostile():
    texts = corpus(4)
    queries = [Text(f"{HOSTILE} {at}", "texts.jsonl line 1") for at in range(4)]
    return Corpus(queries, [Text(f"{HOSTILE} {text.text}", HOSTILE) for text in texts.documents])


@pytest.fixture
async def page():
    return render(await report(corpus(relevant=KNOWN)), "made by a test")


async def test_it_has_a_table_and_pictures_with_words_for_those_who_do_not_see_them(page):
    seen = Seen(page)
    assert seen.tags["svg"] == seen.tags["figure"] == seen.tags["figcaption"] == 5
    assert dict(seen.attributes)["lang"] == "en"
    assert seen.all_of("role").count("img") == 5
    for words in (ONE, OTHER, "nDCG at 10:", "Shared of the nearest documents: ", "made by a test"):
        assert words in seen.text


async def test_without_known_answers_it_says_what_it_cannot_say():
    seen = Seen(render(await report(corpus()), ""))
    assert seen.tags["svg"] == 4
    assert "not which side is better" in seen.text


async def test_it_needs_nothing_but_itself(page):
    seen = Seen(page)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(seen.tags) - {"link"}
    asked = [value for value in seen.all_of("src", "href", "srcset", "action") if not value.startswith("#")]
    assert asked == ["data:,"]  # of the icon: else browsers ask for one
    assert "@import" not in page
    assert re.findall(r"url\((?!#)", page) == []
    assert "default-src 'none'" in page


async def test_every_name_is_there_once_and_all_that_are_meant_are_there(page):
    seen = Seen(page)
    names = Counter(seen.all_of("id"))
    assert max(names.values()) == 1
    meant = {name for names in seen.all_of("aria-labelledby") for name in names.split()}
    meant |= {value[1:] for value in seen.all_of("href") if value.startswith("#")}
    meant |= set(re.findall(r"url\(#([^)]+)\)", page))
    assert meant
    assert meant <= set(names)


async def test_its_colours_are_those_of_the_page(page):
    drawn = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert "#a1b2c" not in page
    assert {"var(--ink)", "var(--one)", "var(--other)", "var(--both)"} <= set(
        re.findall(r"var\([^)]*\)", drawn)
    )
    assert re.findall(r"#[0-9a-f]{6}", drawn) == []
    assert "font-family" not in drawn


async def test_texts_are_shown_and_do_nothing():
    bad = {f"{HOSTILE} {at}" for at in range(2)}
    page = render(await report(hostile(), Models(bad={ONE: bad})), HOSTILE)
    seen = Seen(page)
    assert not {"script", "img"} & set(seen.tags)
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert f"{HOSTILE} 2" in seen.text
    assert seen.text.count(HOSTILE) > 10


async def test_what_was_left_out_is_named_up_to_a_number():
    bad = {text.text for text in corpus(2, 60).documents[:30]}
    seen = Seen(render(await report(corpus(2, 60), Models(bad={OTHER: bad})), ""))
    assert "left out on both sides: 30" in seen.text
    assert seen.text.count("is bad") == REFUSED
    assert "… and more." in seen.text


async def test_two_sides_that_find_the_same_differ_nowhere():
    """With ten documents both have all of them among the ten nearest."""
    seen = Seen(render(await report(corpus(1, 10)), ""))
    assert "Two models on 1 query and 10 documents" in seen.text
    assert "Nowhere: both sides have the same 10 documents" in seen.text


async def test_the_same_report_is_drawn_the_same_way():
    texts = corpus(relevant=KNOWN)
    assert render(await report(texts), "") == render(await report(texts), "")


def browse(address, folder, *flags):
    command = [CHROMIUM, *FLAGS, "--enable-logging=stderr", f"--user-data-dir={folder}", "--dump-dom", *flags]
    ran = subprocess.run([*command, address], capture_output=True, text=True, timeout=60, check=True)
    return ran.stdout, [line for line in ran.stderr.splitlines() if "CONSOLE" in line]


@contextmanager
def serving(folder):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
async def test_chromium_shows_it_without_a_complaint(tmp_path):
    path = tmp_path / "page.html"
    path.write_text(render(await report(hostile()), HOSTILE))
    shown, complaints = browse(path.as_uri(), tmp_path / "profile")
    assert complaints == []
    assert f"<title>{ONE} and {OTHER}, compared</title>" in shown
    assert shown.count("<svg ") == 4


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [320, 1280])
async def test_in_chromium_it_fits_into_its_window(tmp_path, width):
    """A phone's window is a frame here: Chromium has no window of its own that is so narrow."""
    texts = corpus(2)
    unbroken = Corpus([Text("y" * 500, ""), *texts.queries], [Text("z" * 500, ""), *texts.documents])
    (tmp_path / "page.html").write_text(render(await report(unbroken), "w" * 500))
    (tmp_path / "frame.html").write_text(
        f'<iframe src="page.html" style="width:{width}px;height:600px;border:0" onload="'
        "const page = this.contentDocument, { scrollWidth, clientWidth } = page.documentElement;"
        "const picture = page.querySelector('svg').getBoundingClientRect();"
        'document.title = [scrollWidth - clientWidth, picture.width > 200]"></iframe>'
    )
    with serving(tmp_path) as address:
        shown, complaints = browse(f"{address}/frame.html", tmp_path / "profile")
    assert complaints == []
    assert "<title>0,true</title>" in shown
