#!/usr/bin/env python3
"""Checks that each link within a site leads to a file, and to an anchor in it.

    docs/site/check_links.py DIRECTORY
"""

import html.parser
import pathlib
import sys
import urllib.parse

# mdBook's own pages: all chapters on one page, and one that any address may show.
LEFT_OUT = {"print.html", "404.html", "toc.html"}


class Page(html.parser.HTMLParser):
    """The links of a page, and its anchors."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes[name] for name in ("href", "src") if attributes.get(name)]
        self.anchors |= {attributes[name] for name in ("id", "name") if attributes.get(name)}


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    pages = {path: Page(path) for path in root.rglob("*.html")}
    broken, checked = [], 0
    for path, page in pages.items():
        if path.name in LEFT_OUT:
            continue
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            checked += 1
            target = path if not parts.path else (path.parent / urllib.parse.unquote(parts.path)).resolve()
            if target.is_dir():
                target /= "index.html"
            anchor = urllib.parse.unquote(parts.fragment)
            if not target.exists():
                broken.append(f"{path.relative_to(root)}: {link}: no such file")
            elif anchor and target in pages and anchor not in pages[target].anchors:
                broken.append(f"{path.relative_to(root)}: {link}: no such anchor")
    print("\n".join(broken))
    if broken or not checked:
        sys.exit(f"check_links: {len(broken)} of {checked} links lead nowhere")
    print(f"check_links: {len(pages)} pages, {checked} links")


main()
