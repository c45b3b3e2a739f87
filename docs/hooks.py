"""Hooks of mkdocs: the site shows files that lie outside docs/, and needs no script from elsewhere.

A link is written as the repository has it (``../data/results/cures.png``), so that it leads somewhere in both places.
"""

import re
from collections.abc import Iterable, Iterator
from html import unescape
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.structure.toc import AnchorLink

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = (
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
    "data/README.md",
    "data/results/*",
    "notebooks/*.ipynb",
    "examples/*.py",
)
LINK = re.compile(r"(\]\()([^)\s]+)(\))|(<img [^>]*src=\")([^\"]+)(\")")
FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


@event_priority(100)  # before the notebooks' plugin looks for notebooks
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside docs/, under their paths in the repository."""
    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    """Turn links of the repository into links of the site."""
    here = PurePosixPath(page.file.src_uri)
    folder = here.parent if (ROOT / here).exists() else "docs" / here.parent

    def link(match: re.Match[str]) -> str:
        before, target, after = (match[1], match[2], match[3]) if match[2] else (match[4], match[5], match[6])
        path, hash_, anchor = target.partition("#")
        if not path or "://" in path or path.startswith("mailto:"):
            return match[0]
        there = normpath(folder / path).removeprefix("docs/")
        if files.get_file_from_path(there) is None:
            return match[0]  # mkdocs names the page and the link, and the build ends
        return f"{before}{relpath(there, str(here.parent))}{hash_}{anchor}{after}"

    return "".join(part if part.startswith("```") else LINK.sub(link, part) for part in FENCE.split(markdown))


def entries(contents: Iterable[AnchorLink]) -> Iterator[AnchorLink]:
    """The entries of a table of contents, in the order of the page."""
    for entry in contents:
        yield entry
        yield from entries(entry.children)


def on_page_content(html: str, page: Page, **_: Any) -> str:
    """A notebook's equations as MathML, its table of contents, and no script that would be fetched from elsewhere."""
    if not page.file.src_uri.endswith(".ipynb"):
        return html
    headings = re.findall(
        r"<h[1-6][^>]*\sid=\"([^\"]+)\"[^>]*>(.*?)(?:<a class=\"anchor-link\".*?)?</h", html, re.DOTALL
    )
    for entry, (place, text) in zip(entries(page.toc), headings, strict=True):  # the plugin's names are not nbconvert's
        entry.id, entry.title = unescape(place), re.sub(r"<[^>]+>", "", text)
    html = re.sub(r"<script[^>]*\ssrc=\"https?://.*?</script>", "", html, flags=re.DOTALL)
    html = re.sub(r"<script[^>]*>(?:(?!</script>).)*(?:mermaid|MathJax).*?</script>", "", html, flags=re.DOTALL)
    html = re.sub(r"(href=\"[\w.-]+)\.ipynb\"", r'\1.html"', html)  # one notebook names another
    return re.sub(r"\$\$(.+?)\$\$", lambda match: convert(unescape(match[1]), display="block"), html, flags=re.DOTALL)
