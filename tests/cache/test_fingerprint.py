"""The stale-cache cases, on small packages written for each test."""

import ast
import textwrap
from pathlib import Path

import pytest

from components import fingerprint, source

SOURCES = {
    "components/__init__.py": "",
    "components/steps/__init__.py": "",
    "components/steps/fit.py": '''
        """Fit."""
        from components import middle
        from components.errors import Wrong

        LIMIT = 3

        def fit(data: "Data", option):
            """Fits."""
            import json  # a comment
            if data > LIMIT:
                raise Wrong
            return middle.work(option.build(data))

        def unused():
            return 1
        ''',
    "components/errors.py": "class Wrong(Exception):\n    def shown(self):\n"
    "        return far()\n\n"
    "def far():\n    return 7\n",
    "components/middle.py": "from components.deep.end import last\n\nSCALE = 2\n\n"
    "def work(x):\n    return last(x) * SCALE\n\ndef other():\n    return 0\n",
    "components/deep/__init__.py": "",
    "components/deep/end.py": "import numpy as np\n\ndef last(x):\n    return np.sqrt(x)\n",
    "components/shapes/__init__.py": "class Shape:\n    def build(self, data): ...\n"
    "    def draw(self): ...\n",
    "components/shapes/round.py": "from components.shapes import Shape\n\nclass Round(Shape):\n"
    "    def build(self, data):\n        return self._half(data)\n"
    "    def _half(self, x):\n        return x / 2\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return tmp_path


ROUND = {"components.shapes.round:Round": frozenset({"build", "draw"})}


def reached(root: Path, types: dict[str, frozenset[str]] | None = None) -> fingerprint.Closure:
    fingerprint._module.cache_clear()
    fingerprint._closure.cache_clear()
    return fingerprint.closure("components.steps.fit:fit", types or ROUND, root)


def edit(root: Path, name: str, old: str, new: str) -> None:
    path = root / name
    text = path.read_text()
    if old not in text:
        raise LookupError(old)
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("components/middle.py", "last(x) * SCALE", "last(x) + SCALE"),
        ("components/middle.py", "SCALE = 2", "SCALE = 3"),
        ("components/deep/end.py", "np.sqrt(x)", "np.sqrt(x) + 1"),
        ("components/shapes/round.py", "x / 2", "x / 3"),
        ("components/steps/fit.py", "LIMIT = 3", "LIMIT = 4"),
        ("components/errors.py", "return 7", "return 8"),
    ],
    ids=["helper", "constant", "two modules away", "option's method", "own constant", "method's"],
)
def test_a_change_that_matters_changes_the_closure(
    root: Path, file: str, old: str, new: str
) -> None:
    before = reached(root)
    edit(root, file, old, new)
    after = reached(root)
    assert before != after
    assert len(before.symbols.items() ^ after.symbols.items()) == 2  # one symbol, before and after


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("components/steps/fit.py", "# a comment", "# another"),
        ("components/steps/fit.py", '"""Fits."""', '"""Fits, and says more."""'),
        ("components/steps/fit.py", '"""Fit."""', '"""Fit it."""'),
        ("components/steps/fit.py", "return 1", "return 2"),
        ("components/middle.py", "return 0", "return 1"),
        ("components/middle.py", "SCALE = 2", "SCALE   =   2  # points"),
    ],
    ids=["comment", "docstring", "module docstring", "unused function", "unused far", "layout"],
)
def test_a_change_that_does_not_matter_changes_nothing(
    root: Path, file: str, old: str, new: str
) -> None:
    before = reached(root)
    edit(root, file, old, new)
    assert reached(root) == before


def test_the_version_of_a_library_that_is_reached_counts(root: Path) -> None:
    assert set(reached(root).libraries) == {"numpy"}


def test_an_object_counts_only_when_its_class_is_read(root: Path) -> None:
    unread = reached(root, {"components.shapes.round:Round": frozenset({"draw"})})
    assert not any("round" in name for name in unread.symbols)
    assert any("round" in name for name in reached(root).symbols)


def test_a_base_class_of_an_option_counts(root: Path) -> None:
    before = reached(root)
    edit(root, "components/shapes/__init__.py", "def draw(self): ...", "def draw(self): return 1")
    assert reached(root) != before


def test_a_computed_name_takes_the_whole_module_and_is_named(root: Path) -> None:
    edit(root, "components/middle.py", "last(x) * SCALE", "getattr(last, x)(x)")
    blind = reached(root)
    assert blind.opaque == ("components.middle:work",)
    assert "components.middle:other" in blind.symbols


def test_what_an_import_does_counts(root: Path) -> None:
    before = reached(root)
    path = root / "components/deep/end.py"
    path.write_text(path.read_text() + "\nnp.seterr(all='raise')\n")
    assert reached(root) != before


def test_a_types_only_import_does_not_count(root: Path) -> None:
    before = reached(root)
    edit(
        root,
        "components/middle.py",
        "SCALE = 2",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas\nSCALE = 2",
    )
    assert reached(root).symbols == before.symbols


def test_a_missing_entry_is_refused(root: Path) -> None:
    with pytest.raises(LookupError, match=r"no 'nothing' in the source of components\.steps\.fit"):
        fingerprint.closure("components.steps.fit:nothing", {}, root)


@pytest.mark.parametrize("often", [1, source.TRIES])
def test_where_python_miscounts_the_text_is_read_again(
    often: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real, failing = ast.parse, iter([SystemError("recursion depth mismatch")] * often)

    def parse(text: str) -> ast.Module:
        for error in failing:
            raise error
        return real(text)

    monkeypatch.setattr(ast, "parse", parse)
    if often < source.TRIES:
        assert set(source.Module("m", tmp_path, "def f(): ...").symbols) == {"f"}
    else:
        with pytest.raises(SystemError, match="mismatch"):
            source.Module("m", tmp_path, "def f(): ...")
