"""`athanor compare` on versions whose right and wrong answers are known."""

import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from components import mlflow_store, registry
from components.bundle import Bundle
from components.evaluation.paired import mcnemar
from components.registry import moving
from components.steps.register import RegisterConfig, register
from pipelines.comparison.changes import changes
from pipelines.comparison.sides import Side
from tests.comparison import reviews
from tests.docs.test_json_page import demand_alike
from tests.pipelines.small_project import Said
from tests.registry.variants import a_variant

Said_ = Callable[..., Said]


class Seen(HTMLParser):
    """What a browser would run or fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.bad: list[str] = []
        self.policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note scripts, handlers and addresses."""
        values = dict(attrs)
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"] or ""
        if tag in ("script", "link", "iframe", "object", "embed", "base", "form"):
            self.bad.append(tag)
        for name, value in values.items():
            away = name in ("src", "href", "action") and not (value or "").startswith("data:")
            if name.startswith("on") or away:
                self.bad.append(f"{tag} {name}={value}")


def seen(page: str) -> Seen:
    parser = Seen()
    parser.feed(page)
    return parser


def test_rows_lost_and_won_are_those_that_were_made_so(versions: Path, said: Said_) -> None:
    found = said("compare", "reviews/1", "reviews/2", "--json")
    assert found.code == 0, found.err
    document = found.json
    demand_alike("`athanor compare`", document, said_of_pictures(document))
    pair = document["paired"]
    assert (pair["wins"], pair["losses"], pair["both_right"], pair["both_wrong"]) == (6, 3, 30, 2)
    assert (pair["test"], pair["p_better"]) == ("mcnemar", mcnemar(6, 3))
    assert pair["p_worse"] == mcnemar(3, 6)
    assert pair["finding"] == "undecided"
    assert pair["difference"]["value"] == pytest.approx(3 / 41)
    assert document["metrics"]["accuracy"]["a"]["value"] == pytest.approx(33 / 41)
    assert {row["text"] for row in document["lost"]} == {"dull fine", reviews.HOSTILE}
    assert [row["text"] for row in document["won"]] == ["bad good"] * 6
    for kind, right in (("lost", "a"), ("won", "b")):
        for row in document[kind]:
            says = {side: row[side]["label"] == row["true"] for side in ("a", "b")}
            assert says == {"a": right == "a", "b": right == "b"}
    assert sum(part["rows"] for part in document["slices"]) == document["rows"] == 41
    assert {model["stored"] for model in document["models"].values()} == {False}


def said_of_pictures(document: dict) -> dict:
    """The same document as it is for pictures and a page in no MLflow."""
    rows = {kind: [{**row, "text": None} for row in document[kind]] for kind in ("lost", "won")}
    change = {"kind": "config", "where": "x", "a": 1, "b": None}
    page = {"file": "x.html", "run_id": "r", "artifact": None}
    return {**document, **rows, "changes": [change], "notes": ["a note"], "page": page}


def test_turned_round_it_says_the_same(versions: Path, said: Said_) -> None:
    there, back = (
        said("compare", *pair, "--json").json
        for pair in (("reviews/1", "reviews/2"), ("reviews/2", "reviews/1"))
    )
    assert back["paired"]["wins"] == there["paired"]["losses"]
    assert back["paired"]["p_better"] == there["paired"]["p_worse"]
    for name, metric in there["metrics"].items():
        assert back["metrics"][name]["difference"]["value"] == pytest.approx(
            -metric["difference"]["value"]
        )


def test_one_screen(versions: Path, said: Said_, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    moving.force("reviews", 2, "the second is to be champion here")
    found = said("compare", "reviews/1", "reviews@champion", "--examples", "100")
    lines = found.out.splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 100
    assert "LOST, B is wrong where A was right: 3" in lines
    assert any("undecided" in line for line in lines)


def test_the_page_runs_nothing_and_asks_for_nothing(
    versions: Path, said: Said_, tmp_path: Path
) -> None:
    file = tmp_path / "page.html"
    found = said("compare", "reviews/1", "reviews/2", "--json", "--html", str(file)).json
    page = file.read_text()
    parsed = seen(page)
    assert parsed.bad == []
    assert parsed.policy.startswith("default-src 'none'")
    assert "http://example.org/x" in page  # the text of the row, escaped
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;" in page
    assert seen(page.replace("&lt;", "<").replace("&gt;", ">")).bad  # the check can fail
    with registry.connection() as client:
        kept = client.download_artifacts(found["page"]["run_id"], found["page"]["artifact"])
    assert Path(kept).read_bytes() == file.read_bytes()


def test_examples_are_as_many_as_were_asked_for(versions: Path, said: Said_) -> None:
    found = said("compare", "reviews/1", "reviews/2", "--json", "--examples", "2").json
    assert [len(found[kind]) for kind in ("lost", "won")] == [2, 2]
    assert said("compare", "reviews/1", "reviews/2", "--examples", "-1").code == 2


@pytest.mark.parametrize(
    ("word", "message", "remedy"),
    [
        ("revews/1", "no model called 'revews'", "there are: reviews"),
        ("reviews/7", "reviews has no version 7", "reviews/1, reviews/2"),
        ("reviews@best", "reviews has no alias 'best'", "there are: none"),
        ("reviews/1:int8", "has no variant 'int8'", "reviews/1:fp32"),
        ("0" * 32, f"MLflow knows no run {'0' * 32}", "athanor run CONFIG"),
        ("20260101-000000-reviews-abcd", "no run is called", "athanor run CONFIG"),
        ("configs/nothing.yaml", "there is no file", "see configs/"),
    ],
)
def test_a_word_that_names_nothing_is_refused_with_the_nearest(
    versions: Path, said: Said_, word: str, message: str, remedy: str
) -> None:
    found = said("compare", "reviews/1", word)
    assert found.code == 2
    assert message in found.err
    assert remedy in found.err


def test_a_version_is_found_by_its_run_too(versions: Path, said: Said_) -> None:
    runs = {version.version: version.run_id for version in registry.versions("reviews")}
    found = said("compare", runs[1], f"{runs[2]}:fp32", "--json").json
    assert [found["models"][side]["version"] for side in "ab"] == [1, 2]


def test_a_run_that_ended_without_a_version_says_so(versions: Path, said: Said_) -> None:
    client = mlflow_store.client()
    run = client.create_run("0", tags={"athanor.config": "tiny.yaml"})
    found = said("compare", run.info.run_id, "reviews/1")
    assert found.code == 2
    assert "ended without a version" in found.err
    assert "athanor run configs/tiny.yaml" in found.err


def test_rows_that_are_not_here_are_asked_for_by_command(versions: Path, said: Said_) -> None:
    shutil.rmtree(versions / "data/reviews")
    found = said("compare", "reviews/1", "reviews/2")
    assert found.code == 2
    assert "the test rows of reviews/1 and reviews/2 are not here" in found.err
    assert "-> athanor data pull reviews" in found.err


def test_other_data_under_the_name_do_not_count_as_these_rows(versions: Path, said: Said_) -> None:
    reviews.write(versions, test=reviews.TEST[:20])
    found = said("compare", "reviews/1", "reviews/2")
    assert found.code == 2
    assert "git checkout" in found.err


def test_versions_of_different_data_meet_on_the_rows_of_one(
    versions: Path, said: Said_, tmp_path: Path
) -> None:
    reviews.write(versions, "newer", test=reviews.TEST[10:])
    assert reviews.registered(versions, tmp_path, 1.0, "newer") == 3
    found = said("compare", "reviews/1", "reviews/3", "--json").json
    assert (found["data"]["name"], found["rows"]) == ("newer", 31)
    assert "reviews/1 was made from reviews" in found["notes"][0]
    assert "nobody knows which of these rows reviews/1 was trained on" in found["notes"]
    moved = {change["where"] for change in found["changes"] if change["kind"] == "data"}
    assert moved == {"name", "tree"}


def test_two_tasks_are_not_compared(versions: Path, said: Said_, tmp_path: Path) -> None:
    data = reviews.other_labels(reviews.prepared_from(versions, tmp_path, "reviews"))
    variant = a_variant(tmp_path / "lamp", shift=2.0)
    register((variant,), variant.exported, RegisterConfig(name="lamp"), data=data)
    found = said("compare", "reviews/1", "lamp/1")
    assert found.code == 3
    assert "two tasks" in found.err


def test_a_damaged_version_is_refused_by_name(versions: Path, said: Said_, home: Path) -> None:
    bundle = home / "bundles" / registry.versions("reviews")[1].bundle
    with (bundle / "model.onnx").open("r+b") as file:
        file.write(b"\x00")
    found = said("compare", "reviews/1", "reviews/2")
    assert found.code == 6
    assert "model.onnx" in found.err


def test_every_leaf_that_differs_is_named() -> None:
    old = {"lr": 0.1, "space": {"a": [1, 2]}, "same": 1}
    new = {"lr": 0.2, "space": {"a": [1, 3]}, "same": 1, "more": True}
    first, second = (a_side(recipe) for recipe in (old, new))
    second.bundle.manifest["remake"]["data"][0]["tree"] = "2"
    found = {(one.kind, one.where): (one.a, one.b) for one in changes(first, second)}
    assert found == {
        ("data", "tree"): ("1", "2"),
        ("config", "finetune.recipe.lr"): (0.1, 0.2),
        ("config", "finetune.recipe.space.a.1"): (2, 3),
        ("config", "finetune.recipe.more"): (None, True),
    }
    assert list(changes(first, a_side(old))) == []


def a_side(recipe: dict) -> Side:
    """A side as far as `changes` reads it."""
    facts = {
        "commit": "c",
        "python": "3.11",
        "libraries": {"numpy": "2"},
        "steps": {
            "finetune": {
                "function": "m:train",
                "inputs": {"data": {"digest": "d"}, "recipe": recipe},
            },
            "search": {"function": "m:search", "inputs": {"base": recipe}},
        },
    }
    remake = {"data": [{"name": "reviews", "tree": "1", "rows": {"test": 4}}]}
    bundle = Bundle(
        folder=Path(), digest="b", manifest={"selected": "fp32", "remake": remake},
        provenance={"facts": facts, "files": {}}, signer=None,
    )  # fmt: skip
    return Side("reviews", 1, "fp32", "r", bundle, Path(), None, None, None)
