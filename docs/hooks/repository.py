"""Pages of the site that are files of the repository, and links to them.

The pages in docs/ link to files outside of it, such as ``../native/README.md``, so that they can be
read in a checkout. On the site

- the texts in :data:`TEXTS` and the notebooks are pages,
- a source file that a page links to is a page that shows it,
- a link to anything else, such as a folder, is its words alone.
"""

from __future__ import annotations

import base64
import html
import json
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
#: Texts outside of docs/ and the pages that show them.
TEXTS = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "native/README.md": "native.md",
}
NOTEBOOKS = {
    path.relative_to(ROOT).as_posix(): f"notebooks/{path.stem}.md"
    for path in sorted(ROOT.glob("examples/notebooks/*.ipynb"))
}
#: Where links to these lead instead.
INSTEAD = {"README.md": "index.md"}
LANGUAGES = {".py": "python", ".json": "json", ".hpp": "cpp", ".cpp": "cpp", ".html": "html"}
#: What shows a result of a cell.
Shown = Callable[[str, dict[str, Any]], str]
#: Fenced code, which stays as it is, or a link.
FENCE_OR_LINK = re.compile(
    r"^(?P<fence>```.*?^```)|\[(?P<words>[^\]]*)\]\((?P<path>[^)\s#]*)(?P<anchor>#[^)\s]*)?\)",
    re.DOTALL | re.MULTILINE,
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, with links as in the repository."""
    texts = {origin: (ROOT / origin).read_text("utf-8") for origin in TEXTS}
    for origin, page in TEXTS.items():
        files.append(File.generated(config, page, content=texts[origin]))
    for origin, page in NOTEBOOKS.items():
        files.append(File.generated(config, page, content=notebook(ROOT / origin)))
    for file in files.documentation_pages():
        texts.setdefault(origin_of(file.src_uri), file.content_string)
    for origin in sorted({path for name, text in texts.items() for path in linked(name, text)}):
        page = page_of(origin)
        if page == source_page(origin) and files.get_file_from_path(page) is None:
            files.append(File.generated(config, page, content=listing(origin)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links into the repository lead to its pages."""
    here = page.file.src_uri
    origin = origin_of(here)

    def link(found: re.Match[str]) -> str:
        path = found["path"]
        if found["fence"] or not path or "://" in path or path.startswith("mailto:"):
            return found[0]
        target = page_of(posixpath.normpath(posixpath.join(posixpath.dirname(origin), path)))
        if target is None:
            return found["words"]
        relative = posixpath.relpath(target, posixpath.dirname(here) or ".")
        return f"[{found['words']}]({relative}{found['anchor'] or ''})"

    return markdown if origin.startswith("source/") else FENCE_OR_LINK.sub(link, markdown)


def origin_of(page: str) -> str:
    """The file of the repository that a page shows."""
    shown = {shown: origin for origin, shown in (TEXTS | NOTEBOOKS).items()}
    return (
        page.removesuffix(".md") if page.startswith("source/") else shown.get(page, f"docs/{page}")
    )


def page_of(origin: str) -> str | None:
    """The page, or the file of the site, that shows a file of the repository."""
    if origin.startswith("docs/"):
        return origin.removeprefix("docs/")
    known = (TEXTS | NOTEBOOKS | INSTEAD).get(origin)
    return known or (source_page(origin) if Path(origin).suffix in LANGUAGES else None)


def source_page(origin: str) -> str:
    """The page of a source file."""
    return f"source/{origin}.md"


def linked(origin: str, text: str) -> Iterator[str]:
    """The files of the repository that a text links to."""
    for found in FENCE_OR_LINK.finditer(text):
        if found["path"] and "://" not in found["path"]:
            yield posixpath.normpath(posixpath.join(posixpath.dirname(origin), found["path"]))


def listing(origin: str) -> str:
    """A page that shows a source file."""
    code = (ROOT / origin).read_text("utf-8")
    fence = "`" * (1 + max((len(run) for run in re.findall("`{2,}", code)), default=2))
    head = f"---\ntitle: {origin}\nsearch:\n  exclude: true\n---\n\n# `{origin}`\n\n"
    return f"{head}{fence}{LANGUAGES[Path(origin).suffix]}\n{code}{fence}\n"


def notebook(path: Path) -> str:
    """A notebook and what it has shown, as a page."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return "\n\n".join(part for cell in cells for part in parts(cell)) + "\n"


def parts(cell: dict[str, Any]) -> Iterator[str]:
    """A cell: its text, or its code and what came of it."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
        shown = output.get("data", {"text/plain": output.get("text", "")})
        kind = next(kind for kind in SHOWN if kind in shown)
        yield SHOWN[kind]("".join(shown[kind]), cell)


def picture(kind: str) -> Shown:
    """Pictures of a kind, in the page itself."""

    def shown(data: str, cell: dict[str, Any]) -> str:
        title = re.search(r"<title[^>]*>(.*?)</title>", data)
        words = title[1] if title else html.escape(words_of(cell))
        raw = data if kind == "png" else base64.b64encode(data.encode()).decode()
        kinds = {"png": "image/png", "svg": "image/svg+xml"}
        return f'<img alt="{words}" src="data:{kinds[kind]};base64,{"".join(raw.split())}">'

    return shown


def words_of(cell: dict[str, Any]) -> str:
    """What a cell's picture shows: ``alt`` of the metadata, else a first line that is a comment."""
    source = "".join(cell["source"])
    comment = re.match(r'\s*(?:#+|"""|\'\'\')\s*(.*?)\s*(?:"""|\'\'\')?$', source, re.MULTILINE)
    words = cell["metadata"].get("alt") or (comment and comment[1])
    if not words:
        raise PluginError(f"a picture needs words, such as `alt` in the cell's metadata: {source}")
    return str(words)


#: How each kind of result is shown; the first that there is.
SHOWN: dict[str, Shown] = {
    "image/svg+xml": picture("svg"),
    "image/png": picture("png"),
    "text/plain": lambda text, _: f"```text\n{text.rstrip()}\n```",
}
