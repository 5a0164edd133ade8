"""What the site adds to Sphinx: docstrings in plain text, formulas and networks by group, links to HTML reports."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parent.parent
PAGES = "reports/pages"
"""Where on the site the HTML pages of reports/ are: beside them are the site's own, made of their Markdown."""

_CODE = re.compile(r"(``.+?``|`[^`]+`)")
_MARKUP = re.compile(r"([*|\\`]|(?<=\w)_(?=\W|$))")
_SECTION = re.compile(r"\s*(Args|Returns|Raises|Yields):")
_DEFINITION = re.compile(r"\s*(\w+ = |Source: |Shapes: )")
_ALIAS = re.compile(r"TypeAliasForwardRef\('([\w.]+)'\)")
_DEFINES = re.compile(r"(backward|saved|[\w .]+ =|\w+:) ?")


def _readable(line: str) -> str:
    """A line of plain text as reStructuredText: what is within backticks is code, and nothing else is markup."""
    parts = _CODE.split(line)
    return "".join(f"``{p.strip('`')}``" if i % 2 else _MARKUP.sub(r"\\\1", p) for i, p in enumerate(parts))


def _paragraph(lines: list[str]) -> list[str]:
    """One paragraph; where its lines define something each, as a formula's do, they stay lines."""
    if lines[0].lstrip().startswith(">>>"):
        return lines
    readable = [_readable(line) for line in lines]
    if not any(map(_DEFINITION.match, lines)) or _SECTION.match(lines[0]):
        return readable
    return [f"| {line}" if i == 0 or _DEFINES.match(line) else f"  {line}" for i, line in enumerate(readable)]


def _docstring(app: Sphinx, what: str, name: str, obj: object, _options: object, lines: list[str]) -> None:
    """Rewrite a docstring in place: the library's are plain text, with sections as Google writes them."""
    paragraphs: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            paragraphs[-1].append(line)
        else:
            paragraphs.append([])
    text = [line for paragraph in paragraphs if paragraph for line in [*_paragraph(paragraph), ""]]
    if what in ("function", "method", "class", "exception", "decorator"):
        text = GoogleDocstring(text, Config(), app, what, name, obj).lines()
    lines[:] = text


def _signature(
    _app: Sphinx, _what: str, _name: str, _obj: object, _options: object, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """The aliases of `autodoc_type_aliases` by their names, within other types as well."""
    plain = [_ALIAS.sub(r"\1", text) if text else text for text in (signature, returned)]
    return plain[0], plain[1]


class Formulas(SphinxDirective):
    """Every formula of the library, in its groups."""

    def run(self) -> list[nodes.Node]:
        """The sections of the page."""
        from costmodel.formulas import GROUPS

        text = ""
        for group, formulas in GROUPS.items():
            text += f"\n{group.capitalize()}\n{'-' * len(group)}\n\n"
            text += "".join(f".. autofunction:: costmodel.formulas.{formula.__name__}\n\n" for formula in formulas)
        return self.parse_text_to_nodes(text, allow_section_headings=True)


class Networks(SphinxDirective):
    """Every network of the library, by family."""

    def run(self) -> list[nodes.Node]:
        """The functions, in the order of `costmodel models`."""
        from costmodel.models import list_models

        return self.parse_text_to_nodes("".join(f".. autofunction:: costmodel.models.{n}\n\n" for n in list_models()))


class OpenPages(SphinxPostTransform):
    """A link to a page of reports/ that is HTML already opens that page; Sphinx would offer it as a download."""

    default_priority = 5

    def run(self, **_: object) -> None:
        """Replace each such download by a link; `_copy_pages` copies what it leads to."""
        for link in list(self.document.findall(addnodes.download_reference)):
            page = (ROOT / self.env.docname).parent / link["reftarget"]
            if page.suffix == ".html" and page.is_file():
                uri = "../" * self.env.docname.count("/") + f"{PAGES}/{page.name}"
                link.replace_self(nodes.reference("", "", *link.children, refuri=uri, internal=True))


def _copy_pages(app: Sphinx, failed: Exception | None) -> None:
    if failed is None and app.builder.format == "html":
        out = Path(app.outdir)
        (out / PAGES).mkdir(parents=True, exist_ok=True)
        for page in ROOT.glob("reports/*.html"):
            shutil.copyfile(page, out / PAGES / page.name)
        # The pages lie in folders as in the repository, so the site's root sends on to the first of them.
        (out / "index.html").write_text('<!doctype html><meta http-equiv="refresh" content="0; url=docs/index.html">\n')


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all of it."""
    app.add_directive("formulas", Formulas)
    app.add_directive("networks", Networks)
    app.add_post_transform(OpenPages)
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("autodoc-process-signature", _signature)
    app.connect("build-finished", _copy_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
