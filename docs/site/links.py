#!/usr/bin/env python3
"""A preprocessor of mdBook for links. Those to files outside of the book lead to the repository, and those to a
README.md to the page that mdBook makes of it, index.html."""

import json
import os
import re
import sys

LINK = re.compile(r"\]\(([^)\s]+)\)")


def main():
    if sys.argv[1:2] == ["supports"]:
        return
    context, book = json.load(sys.stdin)
    root = context["root"]
    repository = context["config"]["output"]["html"]["git-repository-url"]
    for item in book["items"]:
        rewrite(item, root, repository)
    json.dump(book, sys.stdout)


def rewrite(item, root, repository):
    chapter = item.get("Chapter") if isinstance(item, dict) else None
    if not chapter:
        return
    if chapter["path"]:
        folder = os.path.dirname(chapter["path"])
        chapter["content"] = LINK.sub(
            lambda link: f"]({target(link[1], folder, root, repository)})", chapter["content"]
        )
    for below in chapter["sub_items"]:
        rewrite(below, root, repository)


def target(link, folder, root, repository):
    """The link as it is, or the address of the file in the repository."""
    if "://" in link or link.startswith("#"):
        return link
    file, _, heading = link.partition("#")
    path = os.path.normpath(os.path.join(folder, file))
    if not path.startswith("..") and not os.path.isdir(os.path.join(root, path)):
        return re.sub(r"\bREADME\.md\b", "index.md", link)
    path = os.path.normpath(os.path.join(os.path.basename(os.path.abspath(root)), path))
    kind = "tree" if os.path.isdir(os.path.join(os.path.dirname(os.path.abspath(root)), path)) else "blob"
    return f"{repository}/{kind}/main/{path}" + (f"#{heading}" if heading else "")


main()
