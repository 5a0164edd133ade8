"""The site builds without a warning, leads nowhere that does not exist, and loads nothing from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import costmodel
from costmodel import errors, formulas
from costmodel import models as zoo
from tests.documentation.pages import ROOT


class Page(HTMLParser):
    """The anchors and links of an HTML page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value is not None}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag == "link" and "href" in found:
            self.loaded.append(found["href"])
        elif "src" in found:
            self.loaded.append(found["src"])


def dead_links(site: Path) -> list[str]:
    """Links of a built site, and what its pages load, that lead to no file or anchor of it, or are malformed."""
    pages = {path: Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    dead = []
    for path, page in pages.items():
        for link in {*page.links, *page.loaded}:
            url = urlsplit(link)
            if url.scheme in ("https", "http"):
                fine = bool(re.fullmatch(r"[\w.-]+\.\w+(:\d+)?", url.netloc))
            elif url.scheme in ("mailto", "data"):
                fine = True
            else:
                target = (path.parent / unquote(url.path)).resolve() if url.path else path
                fine = target.is_file() and (
                    not url.fragment or target not in pages or unquote(url.fragment) in pages[target].anchors
                )
            if not fine:
                dead.append(f"{path.relative_to(site)}: {link}")
    return dead


def loaded_from_elsewhere(site: Path) -> list[str]:
    """What a browser would ask another host for, on its own."""
    found = []
    for path in sorted(site.rglob("*.html")):
        found += [f"{path.name}: {link}" for link in Page(path.read_text()).loaded if re.match(r"(https?:)?//", link)]
    for path in sorted(site.rglob("*.css")):
        found += [f"{path.name}: {url}" for url in re.findall(r"url\(['\"]?((?:https?:)?//[^)]+)", path.read_text())]
    return found


def undocumented(names: set[str]) -> list[str]:
    """Public names that the reference does not have."""
    wanted = {
        *(f"costmodel.{name}" for name in dir(costmodel) if name not in ("formulas", "models", *dir(errors))),
        *(f"costmodel.formulas.{name}" for name in formulas.__all__ if name != "LayerCost"),
        *(f"costmodel.models.{name}" for name in (*zoo.list_models(), *zoo.__all__) if name != "FAMILIES"),
        *(f"costmodel.errors.{name}" for name in dir(errors) if name.endswith("Error")),
    }
    return sorted(wanted - names)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with warnings as errors."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "docs", "-d", folder / "read"]
    done = subprocess.run([*command, ".", folder / "site"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def test_the_site_is_whole(site: Path) -> None:
    """The site has every public name, no dead link, nothing of another host, and no type under a name of Sphinx's."""
    inventory = zlib.decompress((site / "objects.inv").read_bytes().split(b"zlib.\n", 1)[1]).decode()
    assert undocumented({line.split(" ")[0] for line in inventory.splitlines()}) == [], "list these in docs/reference"
    assert dead_links(site) == []
    assert loaded_from_elsewhere(site) == []
    assert "ForwardRef" not in (site / "docs" / "reference" / "formulas.html").read_text()


@pytest.mark.browser
def test_no_page_is_wider_than_its_window(site: Path, tmp_path: Path) -> None:
    """From a phone to a wide screen: what is wider than the page scrolls within it."""
    pytest.importorskip("selenium", reason="no selenium: pip install -e '.[test]'")
    from tests.views.test_browser import Browser

    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    browser = Browser(tmp_path)
    too_wide = []
    for page in ("docs/tasks/mobile", "docs/conventions", "docs/reference/formulas", "reports/published", "CHANGELOG"):
        for width in (360, 700, 1000, 1080, 1280, 1400, 1920):
            browser.load(site / f"{page}.html", width)
            if (found := browser.run("return document.documentElement.scrollWidth")) > width:
                too_wide.append((page, width, found))
    browser.driver.quit()
    assert too_wide == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    """A link to a page, an anchor or a host that cannot exist is dead; one to what exists is not."""
    (tmp_path / "a.html").write_text(
        '<h1 id="here"></h1><a href="#here"></a><a href="b.html"></a><a href="b.html#there"></a><a href="#gone"></a>'
        '<a href="https://example.org/x"></a><a href="https://nowhere"></a><img src="b.png">'
    )
    (tmp_path / "b.html").write_text("")
    assert sorted(dead_links(tmp_path)) == [
        "a.html: #gone",
        "a.html: b.html#there",
        "a.html: b.png",
        "a.html: https://nowhere",
    ]


def test_what_another_host_would_be_asked_for_is_found(tmp_path: Path) -> None:
    """Scripts, styles, pictures and fonts of another host are found; links to it are fine."""
    (tmp_path / "a.html").write_text(
        '<script src="//cdn.example.org/x.js"></script><link href="x.css"><a href="https://example.org"></a>'
    )
    (tmp_path / "x.css").write_text("@font-face { src: url('https://fonts.example.org/f.woff2') }")
    assert loaded_from_elsewhere(tmp_path) == [
        "a.html: //cdn.example.org/x.js",
        "x.css: https://fonts.example.org/f.woff2'",
    ]


def test_a_public_name_without_reference_is_found() -> None:
    """A name that the inventory lacks is named."""
    assert "costmodel.profile" in undocumented(set())
    assert "costmodel.errors.LoadError" in undocumented({"costmodel.profile"})
