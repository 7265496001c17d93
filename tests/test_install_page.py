"""The pages about installing: what they quote is what the code says, what they link to exists.

`make install-page` runs the commands of docs/install.md, which takes long: it is no test.
"""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from edgesep.cli import _parser
from edgesep.keys import ALL_KEYS
from scripts.emulated_python import KNOWN
from scripts.follow_install import PAGE, commands

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [PAGE, DOCS / "troubleshooting.md", *sorted((DOCS / "recipes").glob("*.md"))]
GAP = "…"


@functools.cache
def templates() -> list[str]:
    """Return every text of the package's source; what is filled in shows as a gap."""
    found = []
    for path in (ROOT / "edgesep").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else GAP for v in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def own_messages() -> list[str]:
    text = (DOCS / "troubleshooting.md").read_text()
    ours = text.partition("## What edgesep says")[2].partition("\n## ")[0]
    return re.findall(r"^### `(.+)`$", ours, re.M)


def quotes(template: str, message: str) -> bool:
    """Tell whether the message's words stand in the template, in order and side by side."""
    words = [re.escape(part) for part in message.split(GAP)]
    return re.search(".*".join(words), template, re.S) is not None


def test_the_page_has_our_messages() -> None:
    assert len(own_messages()) >= 15


@pytest.mark.parametrize("message", own_messages())
def test_a_message_is_quoted_as_the_source_has_it(message: str) -> None:
    assert any(quotes(template, message) for template in templates()), message


def test_a_message_that_nobody_says_is_found_out() -> None:
    assert not any(quotes(text, f"the C core {GAP} was not there today") for text in templates())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", page.read_text()):
        other = (page.parent / target) if target else page
        assert other.exists(), target
        titles = re.findall(r"^#+ (.+)$", other.read_text(), re.M)
        anchors = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
        assert not anchor or anchor in anchors, f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_settings_exist(page: Path) -> None:
    text = page.read_text()
    (subparsers,) = (a for a in _parser()._actions if isinstance(a.choices, dict))
    named = re.findall(r"(?:^ *|`|/bin/|-m )edgesep ([a-z]+)\b", text, re.M)
    assert set(named) <= set(subparsers.choices or {}), named
    for key in re.findall(r"(?<![/\w])(?:audio|safety|separation)\.[a-z_.]+[a-z]", text):
        assert key in ALL_KEYS, key
    shorts = {key.name.removeprefix("audio.") for key in ALL_KEYS.values()}
    assert set(re.findall(r"--set ([a-z_.]+)=", text)) <= shorts


@pytest.mark.parametrize("tree", KNOWN)
def test_there_are_commands_to_follow(tree: str) -> None:
    lines = commands(PAGE.read_text(), tree)
    assert lines[0] == "sudo apt update"
    assert any(line.startswith("sudo apt install python3-venv gcc") for line in lines)
    assert any("pip install" in line for line in lines)
    assert any("edgesep file" in line for line in lines)


def test_the_page_installs_the_audio_extra() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    (extra,) = re.findall(r'^audio = \["([^"]+)"\]', text, re.M)
    assert f"pip install '{extra}'" in PAGE.read_text()
