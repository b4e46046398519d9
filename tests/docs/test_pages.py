"""What the pages say exists: commands, options, files, links, rooms, layers, words."""

import argparse
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import errors
from components.validation.checks import CHECKS
from pipelines import cli, receipt
from pipelines.config import load_run
from tests.docs import pages
from tests.docs.pages import ROOT
from tests.docs.reports import a_report

ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
SOURCES = [path for name in ("components", "pipelines") for path in (ROOT / name).rglob("*.py")]
SHOWN = pytest.mark.parametrize("page", pages.PAGES, ids=pages.name)
HOSTS = (
    "127.0.0.1",
    "localhost",
    "example.org",
    "keepachangelog.com",
    "semver.org",
    "arxiv.org",
)
"""Hosts that a page may name, with what lies below them."""
WORKPLACE = re.compile(r"/(work|tmp|home|root|mnt|opt)/|/Users/")
PLACES = re.compile(
    r"(?:components|pipelines|configs|docs|tests|benchmarks|mlflow)/[\w/.-]*|[\w-]+\.(?:md|toml|dvc)"
)
MADE_BY_THE_READER = {"configs/expectations/moods.yaml"}
"""Files that a page tells its reader to make."""


def refusal(words: list[str]) -> str | None:
    """Why the command line would be refused; None where it is a good one."""
    try:
        options = cli._parsed(words)
    except errors.UsageError as error:
        return error.message
    except SystemExit:
        return None  # the end of --help
    config = getattr(options, "config", None)
    if config and not (ROOT / config).is_file():
        return f"there is no {config}"
    if config and options.assignments:
        plain, changed = (load_run(ROOT / config, each) for each in ((), options.assignments))
        return "--set changes nothing" if plain == changed else None
    return None


def programs(text: str) -> Iterator[list[str]]:
    """Command lines of a page as words, those inside `$(...)` too."""
    for line in pages.commands(text):
        inner = re.findall(r"\$\(([^)]*)\)", line)
        for command in [line, *inner]:
            words = shlex.split(re.sub(r'"?\$\([^)]*\)"?', "X", command))
            for at, word in enumerate(words):
                if word == "&&":
                    yield words[at + 1 :]
            yield words[: words.index("&&")] if "&&" in words else words


def commands_of_the_cli() -> set[str]:
    [choices] = [
        action.choices
        for action in cli._parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    return set(choices)


@SHOWN
def test_every_athanor_command_is_one(page: Path) -> None:
    wrong = [
        refusal(words[1:])
        for words in programs(page.read_text())
        if words and Path(words[0]).name == "athanor"
    ]
    assert [each for each in wrong if each] == []


@SHOWN
def test_commands_named_in_prose_exist(page: Path) -> None:
    named = re.findall(r"`athanor (\w+)", pages.prose(page.read_text()))
    assert set(named) <= commands_of_the_cli()


def test_a_wrong_command_is_noticed() -> None:
    assert refusal(["run", "configs/digits.yaml"]) is None
    assert refusal(["run", "configs/nothing.yaml"]) == "there is no configs/nothing.yaml"
    assert refusal(["runn", "configs/digits.yaml"]) == "athanor knows no 'runn'"
    same = ["--set", "select.max_drop=0.01"]
    assert refusal(["run", "configs/digits.yaml", *same]) == "--set changes nothing"
    assert refusal(["models", "--all"]) == "athanor models takes no '--all'"
    assert "required: config" in (refusal(["run"]) or "")


def test_the_readme_shows_every_command() -> None:
    readme = (ROOT / "README.md").read_text()
    shown = {words[1] for words in programs(readme) if words[0] == "athanor"}
    assert shown == commands_of_the_cli()


@SHOWN
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    text = page.read_text()
    used = {word for words in programs(text) if words[:1] == ["make"] for word in words[1:]}
    used |= set(re.findall(r"`make ([a-z]+)", pages.prose(text)))
    assert {word for word in used if "=" not in word} <= targets


@SHOWN
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", pages.prose(page.read_text()))
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"{pages.name(page)} links to {target}"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", there.read_text(), re.M)
            assert anchor in {
                re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in titles
            }


def test_the_readme_leads_to_every_guide() -> None:
    linked = set(re.findall(r"\]\(docs/how-to/([\w-]+\.md)\)", (ROOT / "README.md").read_text()))
    assert linked == {page.name for page in (ROOT / "docs/how-to").iterdir()}


@SHOWN
def test_every_file_named_in_code_type_exists(page: Path) -> None:
    for word in re.findall(r"`([^`\n]+)`", pages.prose(page.read_text())):
        if PLACES.fullmatch(word) and word not in MADE_BY_THE_READER:
            beside = page.parent / word
            assert (ROOT / word).exists() or beside.exists(), f"{pages.name(page)} names {word}"


@SHOWN
def test_no_page_names_a_workplace_or_a_strange_host(page: Path) -> None:
    text = page.read_text()
    assert not WORKPLACE.search(text.replace("/work/<key>", "").replace("work/<key>/", ""))
    for host in re.findall(r"https?://([^/\s:)\"'>`]+)", text):
        assert any(host == one or host.endswith(f".{one}") for one in HOSTS), f"names {host}"


def test_every_room_is_on_the_architecture_page() -> None:
    for package in ("pipelines", "components"):
        [rows] = [
            pages.table(part)
            for part in re.split(r"\n\n", ARCHITECTURE)
            if part.startswith(f"| `{package}/`")
        ]
        named = {word for row in rows for word in re.findall(r"`(\w+)`", row[0])}
        stands = {
            path.stem
            for path in (ROOT / package).iterdir()
            if not path.name.startswith("_")
            and (path.suffix == ".py" or (path / "__init__.py").is_file())
        }
        assert named == stands


def test_every_step_is_on_the_architecture_page() -> None:
    [line] = [line for line in ARCHITECTURE.splitlines() if line.startswith("| `steps` | one file")]
    stands = {path.stem for path in (ROOT / "components/steps").glob("[a-z]*.py")}
    assert set(line.rpartition(":")[2].strip(" |").split()) == stands


def test_the_layers_are_those_of_the_contract() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contract = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    [shown] = [one.text for one in pages.blocks(ARCHITECTURE) if one.language == "layers"]
    assert shown.splitlines() == contract


def test_every_folder_of_the_home_is_on_the_architecture_page() -> None:
    rows = pages.table(pages.section(ARCHITECTURE, "Where state lives"))
    named = {word.rstrip("/") for row in rows for word in re.findall(r"`([\w.]+/?)`", row[0])}
    pattern = re.compile(r"\bhome(?:\(\))? / \"([\w.]+)")
    used = {name for path in SOURCES for name in pattern.findall(path.read_text())}
    assert used - named == set()
    assert {"cache", "history", "objects", "work"} <= used


def test_every_error_and_exit_code_is_on_the_architecture_page() -> None:
    rows = pages.table(pages.section(ARCHITECTURE, "Errors and exit codes"))
    shown = {(name, code) for code, names, _ in rows for name in re.findall(r"`(\w+)`", names)}
    ours = {
        (kind.__name__, str(kind.exit_code))
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.AthanorError)
    } - {("AthanorError", "70")}
    assert shown == ours


def test_every_check_of_data_is_on_its_page() -> None:
    text = pages.section((ROOT / "docs/how-to/add-data.md").read_text(), "2. The suite")
    assert {row[0].strip("`") for row in pages.table(text)} == CHECKS.keys()


def test_every_word_of_the_glossary_is_used_in_the_code() -> None:
    rows = pages.table(pages.section((ROOT / "CONTRIBUTING.md").read_text(), "Glossary"))
    code = "\n".join(path.read_text().lower() for path in SOURCES)
    assert len(rows) > 30
    for word, _ in rows:
        assert re.search(rf"\b{word.strip('*')}s?\b", code), f"{word} is not a word of the code"


def test_every_decision_has_its_three_parts_and_its_number() -> None:
    files = sorted((ROOT / "docs/decisions").glob("*.md"))
    for number, file in enumerate(files, start=1):
        text = file.read_text()
        assert file.name.startswith(f"{number:04d}-")
        assert text.startswith(f"# {number:04d}: ")
        assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.M) == [
            "Context",
            "Decision",
            "Consequences",
        ]


def labels(text: str) -> list[str]:
    """The words at the left edge of a receipt, repeated ones once."""
    found = [match[1] for match in re.finditer(r"^(ATHANOR RECEIPT|[a-z]+)(?= )", text, re.M)]
    return [word for at, word in enumerate(found) if not at or found[at - 1] != word]


def test_the_readmes_receipt_has_the_shape_of_todays(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    marked = readme.partition("<!-- receipt: begin")[2].partition("<!-- receipt: end -->")[0]
    [block] = pages.blocks(marked)
    today = labels(receipt.as_text(a_report(tmp_path, "promoted")))
    optional = {"pretrain", "search", "note"}
    assert [word for word in labels(block.text) if word not in optional] == today
    assert today[0] == "ATHANOR RECEIPT"
    head = r"^ATHANOR RECEIPT   [\w-]+   run \d{8}-\d{6}-[\w-]+   [\d.]+ s$"
    for text in (block.text, receipt.as_text(a_report(tmp_path, "promoted"))):
        assert re.search(head, text, re.M)


def test_every_benchmark_is_on_its_page() -> None:
    text = (ROOT / "docs/benchmarks.md").read_text()
    stands = {path.name for path in (ROOT / "benchmarks").glob("[a-z]*.py")}
    assert set(re.findall(r"`(\w+\.py)`", text)) == stands
