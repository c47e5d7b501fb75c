"""
Adds the pages outside `docs` that it links to, such as `recipes/recovery.md`, to the site, and points links at them.

Links to other files, such as code and folders, lead to `repo_url` of mkdocs.yml; without one, only their text is left.
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page


ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
IMAGES = (".png", ".svg")
# The site has a start page of its own.
RENAMED = {"README.md": "overview.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds every page that is reached by links from `docs`, and the images on these pages."""
    waiting = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    reached = set(waiting)
    while waiting:
        source = waiting.pop()
        for _, _, link in LINK.findall((ROOT / source).read_text(encoding="utf-8")):
            target = _target(source, link)
            if target is None or target in reached or not target.endswith((".md", *IMAGES)):
                continue
            reached.add(target)
            if not target.startswith("docs/"):
                files.append(File.generated(config, _uri(target), abs_src_path=str(ROOT / target)))
            if target.endswith(".md"):
                waiting.append(target)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replaces links that are relative in the repository by links that are relative on the site."""
    path = Path(page.file.abs_src_path or "")
    if not path.is_relative_to(ROOT):
        return markdown
    source = path.relative_to(ROOT).as_posix()

    def replaced(match: re.Match[str]) -> str:
        mark, text, link = match.groups()
        target = _target(source, link)
        if target is None:
            return match.group()
        if files.get_file_from_path(_uri(target)) is None:
            return f"[{text}]({config.repo_url.rstrip('/')}/blob/main/{target})" if config.repo_url else text
        anchor = "#" + link.partition("#")[2] if "#" in link else ""
        return f"{mark}[{text}]({relpath(_uri(target), dirname(page.file.src_uri) or '.')}{anchor})"

    return LINK.sub(replaced, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Writes the types and references of docstrings, such as [`~transformers.Trainer`], as names."""
    html = re.sub(r"\[<code>(?:~(?:\w+\.)*)?([\w.]+)</code>\]", r"<code>\1</code>", html)
    if not page.file.src_uri.startswith("reference/"):
        return html
    return re.sub(r"<code>([^<]*`[^<]*)</code>", lambda match: f"<code>{_plain_type(match.group(1))}</code>", html)


def _plain_type(text: str) -> str:
    return re.sub(r"\[?`~?(.*?)`\]?", r"\1", text).replace("*optional*", "optional")


def _target(source: str, link: str) -> str | None:
    """The file of the repository that a link of a page leads to; `None` for an address or an anchor of the page."""
    name = link.partition("#")[0]
    if not name or "://" in name or name.startswith("mailto:"):
        return None
    target = normpath(f"{dirname(source)}/{name}") if dirname(source) else normpath(name)
    return target if (ROOT / target).exists() else None


def _uri(target: str) -> str:
    """The place of a file of the repository on the site."""
    return RENAMED.get(target, target.removeprefix("docs/"))
