"""Hooks of MkDocs: pages that lie outside of docs/ are part of the site, and links to them lead there."""

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "bench/RESULTS.md": "bench_results.md",
    "deployments/README.md": "deployments.md",
    "deployments/policies/README.md": "policies.md",
    "src/emolake/models/default/README.md": "default_card.md",
    "src/emolake/models/small/README.md": "small_card.md",
}
"""Page of the repository -> page of the site."""

_ORIGINS = {page: origin for origin, page in OUTSIDE.items()}
_LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]+)(?=[)#])")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages from outside."""
    for origin, page in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / origin)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the page with links that hold in the repository turned into those that hold on the site."""
    return with_links_of_the_site(markdown, page.file.src_uri)


def with_links_of_the_site(markdown: str, page: str) -> str:
    """Return the Markdown of a page of the site, its relative links led from the repository's places to the site's."""
    folder = dirname(_ORIGINS.get(page, f"docs/{page}"))

    def led(link: re.Match[str]) -> str:
        target = normpath(join(folder, link[1]))
        if target in OUTSIDE:
            return relpath(OUTSIDE[target], dirname(page) or ".")
        if target.startswith("docs/"):
            return relpath(target.removeprefix("docs/"), dirname(page) or ".")
        return link[1]

    return _LINK.sub(led, markdown)
