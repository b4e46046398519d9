"""A version of the small project made again in a clean clone, told in order.

The version is as hard as one can be: its tree was changed and not committed, its training was
interrupted and went on, and steps before it came from the cache of the run before.
"""

import copy
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from components import bundle, files
from components.bundle import origin
from components.bundle.origin import Origin
from pipelines import kernel
from pipelines.divergence import divergence
from tests.pipelines import small_project
from tests.pipelines.small_project import Said

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

RUN = (
    "run", "configs/tiny.yaml", "--json", "--set", "search=~", "--set", "baselines=[majority]",
    "--set", "finetune.budget={epochs: 120, batch_size: 16, checkpoint_steps: 20}",
)  # fmt: skip
UNSORTED = """\
  - type: expect_column_value_lengths_to_be_between
    kwargs: {min_value: 1, column: text, max_value: 20}
"""
"""Keys that stand in another order than by name, in which a provenance has them."""
STEPS = 1200
PATIENCE_S = 1200.0


class Story(NamedTuple):
    """Where the version was made, and the clone elsewhere that knows nothing of it."""

    first: Path
    elsewhere: Path
    project: Path
    home: Path
    folder: Path
    """Where remakes lie while they live."""

    def athanor(self, clone: Path, *words: str, **variables: str) -> Said:
        """A command as a user types it, with the code of one of the clones."""
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *words],
            cwd=self.project,
            env=self.environment(clone) | variables,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    @property
    def remakes(self) -> set[Path]:
        """Folders of remakes that are there; libraries leave droppings beside them."""
        return set(self.folder.glob("athanor-reproduce-*"))

    def environment(self, clone: Path) -> dict[str, str]:
        """What a command is started with."""
        return small_project.environment(self.home, clone) | {"TMPDIR": str(self.folder)}


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=somebody", "-c", "user.email=nobody")
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *words], check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Both clones have our packages as they are now as their one commit."""
    folder = tmp_path_factory.mktemp("story")
    first, elsewhere = folder / "first", folder / "elsewhere"
    small_project.frozen(first)
    shutil.copy(small_project.ROOT / "constraints.txt", first)
    git(first, "init", "-q")
    git(first, "add", "-A")
    git(first, "commit", "-qm", "As it is")
    git(folder, "clone", "-q", str(first), str(elsewhere))
    (folder / "remakes").mkdir()
    project = small_project.write(folder / "tiny")
    with (project / "configs/expectations/words.yaml").open("a") as suite:
        suite.write(UNSORTED)
    return Story(first, elsewhere, project, folder / "home", folder / "remakes")


def change(clone: Path) -> None:
    """Quantize with one scale a tensor, as a file says that git does not know."""
    path = clone / "components/compression/int8_dynamic.py"
    before = path.read_text()
    after = before.replace("per_channel=not recurrent", "per_channel=PER_CHANNEL")
    assert after != before
    start = "from components.compression import"
    own = "from components.compression._scales import PER_CHANNEL\n"
    path.write_text(after.replace(start, own + start, 1))
    (path.parent / "_scales.py").write_text("PER_CHANNEL = False\n")


def checkpoints(home: Path) -> list[int]:
    return sorted(int(path.stem) for path in home.glob("work/*/checkpoints/*.json"))


@pytest.fixture(scope="module")
def made(story: Story) -> dict[str, Any]:
    """The version: a changed tree, an interrupted training, a second run that goes on."""
    change(story.first)
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", *RUN],
        cwd=story.project,
        env=story.environment(story.first),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    # The checkpoints of pretraining are gone when it is done.
    deadline = time.monotonic() + PATIENCE_S
    while not [step for step in checkpoints(story.home) if step > 4]:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.terminate()
    said = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 143, said
    assert 4 < checkpoints(story.home)[-1] < STEPS, "the signal fell outside the training"
    done = story.athanor(story.first, *RUN)
    assert done.code == 0, done.err
    return done.json


@pytest.fixture(scope="module")
def remade(story: Story, made: dict[str, Any]) -> Said:
    """The version made again with the code of the clean clone."""
    assert git(story.elsewhere, "status", "--porcelain") == ""
    return story.athanor(story.elsewhere, "reproduce", "tiny/1", "--keep", "--json")


def bundle_of(home: Path) -> bundle.Bundle:
    """Its hashes are verified; the key that signed it is that home's, not the test's."""
    [folder] = [path.parent for path in home.glob("bundles/*/manifest.json")]
    return bundle.open(folder, allow_unsigned=True)


@pytest.fixture(scope="module")
def both(story: Story, remade: Said) -> tuple[Origin, Origin]:
    """The version's making and that of the remake."""
    there, here = story.home, Path(remade.json["folder"]) / "home"
    return origin.of(bundle_of(there)), origin.of(bundle_of(here))


def test_the_version_is_as_hard_as_it_should_be(story: Story, made: dict[str, Any]) -> None:
    states = {step["name"]: step["state"] for step in made["steps"]}
    assert {n for n, state in states.items() if state == "cached"} == {
        "validate-words", "prepare", "pretrain",
    }  # fmt: skip
    assert states["finetune"] == "executed"
    version = bundle_of(story.home)
    patch = (version.folder / "source.patch").read_text()
    assert "+PER_CHANNEL = False" in patch
    assert version.selected == "int8_dynamic", "the patch would change nothing in it"


def test_an_interrupted_cached_and_uncommitted_version_is_identical(
    story: Story, remade: Said
) -> None:
    assert remade.code == 0, remade.err
    found = remade.json
    assert found["verdict"] == "identical"
    assert found["there"] == found["here"] == bundle_of(story.home).digest
    assert found["patched"] is True
    assert found["commit"] == git(story.first, "rev-parse", "HEAD").strip()
    assert (found["step"], found["difference"]) == (None, None)
    assert found["notes"] == [], "the home's own key vouches for it"


def test_every_step_ran_again_and_from_nothing(remade: Said, made: dict[str, Any]) -> None:
    receipt = json.loads((Path(remade.json["folder"]) / "answer.json").read_bytes())
    assert {step["state"] for step in receipt["steps"]} == {"executed"}
    assert [s["name"] for s in receipt["steps"]] == [s["name"] for s in made["steps"]]
    assert receipt["model"]["version"] == 1
    assert "finetune: done in" in remade.err


def test_nothing_of_the_users_was_touched(story: Story, remade: Said) -> None:
    assert git(story.elsewhere, "status", "--porcelain") == ""
    assert git(story.elsewhere, "worktree", "list").count("\n") == 1
    listed = story.athanor(story.elsewhere, "models", "--json").json["models"]
    assert listed == [{"name": "tiny", "versions": [1], "champion": 1}]
    events = story.athanor(story.elsewhere, "history", "tiny", "--json").json["events"]
    assert [e["event"] for e in events].count("registered") == 1


def test_the_patch_is_what_makes_it_the_same(both: tuple[Origin, Origin], remade: Said) -> None:
    """Without it another graph: the negative control of the first test."""
    there, _ = both
    source = Path(remade.json["folder"]) / "source/components/compression/int8_dynamic.py"
    assert "per_channel=PER_CHANNEL" in source.read_text()
    assert len(there.steps["compress-int8_dynamic"]["files"]["model.onnx"]) == 64


Edit = Callable[[Origin], None]


def _weights(making: Origin) -> None:
    making.manifest["files"]["weights.safetensors"]["sha256"] = "9" * 64


def _recipe(making: Origin) -> None:
    making.manifest["remake"]["exported"]["model"]["recipe"]["optimizer"]["lr"] = 0.5


def _result(making: Origin) -> None:
    making.facts["steps"]["pretrain"]["result"] = "9" * 64


@pytest.mark.parametrize(
    ("edit", "step"), [(_weights, "finetune"), (_recipe, "finetune"), (_result, "pretrain")]
)
def test_an_edited_version_diverges_at_the_right_step(
    both: tuple[Origin, Origin], edit: Edit, step: str
) -> None:
    there, here = both
    assert divergence(there, here) is None
    forged = copy.deepcopy(there)
    edit(forged)
    found = divergence(forged._replace(bundle="9" * 64), here)
    assert found is not None
    assert found.step == step


def test_one_thread_more_in_the_shell_is_refused(story: Story, remade: Said) -> None:
    said = story.athanor(story.elsewhere, "reproduce", "tiny@champion", OMP_NUM_THREADS="2")
    assert said.code == 2
    assert "OMP_NUM_THREADS: 1 there, 2 here" in said.err
    assert "IDENTICAL" not in said.out


def test_one_thread_more_in_the_config_diverges_without_a_registry(
    story: Story, remade: Said, tmp_path: Path
) -> None:
    version = bundle_of(story.home)
    facts = copy.deepcopy(version.provenance["facts"])
    facts["config"]["finetune"]["threads"] += 1
    listed = version.provenance["files"]
    files.copy(version.folder / "source.patch", tmp_path / "v/source.patch")
    files.write_bytes(tmp_path / "v/provenance.json", bundle.sealed(version.digest, listed, facts))
    manifest = str(tmp_path / "v/provenance.json")
    nowhere = {"ATHANOR_HOME": str(tmp_path / "empty")}
    words = ("reproduce", "--from-manifest", manifest)
    said = story.athanor(story.elsewhere, *words, **nowhere)
    assert (said.code, said.out) == (6, "")
    assert "nobody vouches for it" in said.err
    assert "--allow-unsigned" in said.err
    said = story.athanor(story.elsewhere, *words, "--allow-unsigned", **nowhere)
    assert said.code == 6, said.err
    assert "note: no trusted key signed this version" in said.out
    last = said.out.splitlines()[-1]
    assert last == "DIVERGED at finetune: inputs.recipe.threads: 1 -> 2"
    assert story.remakes == {Path(remade.json["folder"])}


def test_an_interrupted_remake_leaves_nothing(story: Story, remade: Said) -> None:
    kept = story.remakes
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "reproduce", "tiny/1"],
        cwd=story.project,
        env=story.environment(story.elsewhere),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "validate-words ..." in line:
            break
    [place] = story.remakes - kept
    mark = f"ATHANOR_HOME={place}/home"
    assert kernel.marked(mark), "no remake was at work"
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 130, "".join(lines) + rest
    assert "Traceback" not in rest
    assert story.remakes == kept
    assert kernel.marked(mark) == ()
