"""Read the sections of a YAML file into dotted keys; every error has its line and column."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgesep.errors import SettingsError, unknown_name

if TYPE_CHECKING:
    import yaml

__all__ = ["read_keys"]

Check = Callable[[str, object], object]


def read_keys(
    path: Path,
    names: Collection[str],
    check: Check,
    foreign: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """Return full key -> value of the file; sections are nested mappings.

    names: the dotted keys that are allowed. check: gets a key and its value as YAML reads it,
    returns what to store, or raises SettingsError. foreign: top-level sections of other kinds of
    files -> what to tell their owner.

    Raises SettingsError for a file that cannot be read or parsed and, with line and column, for
    an unknown or repeated key and for what `check` refuses.
    """
    import yaml

    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from error
    except RecursionError as error:
        raise SettingsError(f"{path}: not settings: nested too deeply") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"{path}: not YAML ({reason})") from error
    keys: dict[str, object] = {}
    if root is not None:
        _Reader(path, names, check, foreign or {}, keys).section("", root)
    return keys


class _Reader:
    def __init__(
        self,
        path: Path,
        names: Collection[str],
        check: Check,
        foreign: Mapping[str, str],
        keys: dict[str, object],
    ) -> None:
        self._path, self._names, self._check = path, names, check
        self._foreign, self._keys = foreign, keys

    def section(self, prefix: str, node: yaml.Node) -> None:
        """Read the keys below `prefix`."""
        import yaml

        what = prefix or "the file"
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
            return
        if not isinstance(node, yaml.MappingNode):
            holds = node.value if isinstance(node, yaml.ScalarNode) else "a list"
            raise self._error(node, f"{what} holds {holds}: write lines of key: value")
        depth = len(prefix.split(".")) if prefix else 0
        names = {
            key.split(".")[depth]
            for key in self._names
            if not prefix or key.startswith(f"{prefix}.")
        }
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(key_node, f"a name is needed before the colon in {what}")
            name = str(key_node.value)
            full = f"{prefix}.{name}" if prefix else name
            if not prefix and name in self._foreign:
                raise self._error(key_node, self._foreign[name])
            if name not in names:
                kind = f"key in {prefix}:" if prefix else "section"
                raise self._error(key_node, unknown_name(kind, name, names))
            if full in self._names:
                self._entry(full, key_node, value_node)
            else:
                self.section(full, value_node)

    def _entry(self, full: str, key_node: yaml.Node, node: yaml.Node) -> None:
        import yaml

        if full in self._keys:
            raise self._error(key_node, f"{full} is given twice: keep one")
        if not isinstance(node, yaml.ScalarNode):
            raise self._error(node, f"{full} takes one value, not a list or a section")
        try:
            value = yaml.safe_load(yaml.serialize(node))
        except (yaml.YAMLError, ValueError) as error:  # a foreign tag, or the 40th of May
            kind = node.tag.removeprefix("tag:yaml.org,2002:")
            reason = f"{full} is {node.value[:40]!r}, which is no value of type {kind[:40]!r} here"
            raise self._error(
                node, f"{reason}: quote it, or leave out what is marked with !"
            ) from error
        try:
            self._keys[full] = self._check(full, value)
        except SettingsError as error:
            raise self._error(node, str(error)) from error

    def _error(self, node: yaml.Node, reason: str) -> SettingsError:
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        return SettingsError(f"{self._path}:{line}:{column}: {reason}")
