"""Several chains of the same methods in one run: each has steps and a name of its own."""

import json

import pytest

from tests.pipelines import small_project

STUDENT = """\
  - - kind: distillation
      student:
        architecture: {{kind: ngrams, longest: 2, buckets: {buckets}, width: 4}}
        objective: {{kind: classification}}
        optimizer: {{lr: 1e-2}}
        budget: {{epochs: 1}}
        guidance: {{alpha: 0.5, temperature: 2}}
"""


@pytest.mark.slow
def test_two_students_are_two_variants_of_one_version(tmp_path, home) -> None:
    project = small_project.write(tmp_path / "tiny")
    config = project / "configs/tiny.yaml"
    students = STUDENT.format(buckets=512) + STUDENT.format(buckets=64)
    plain, quantized = "compress:\n  - []\n", "  - - {kind: int8_dynamic}\n"
    text = small_project.CONFIG.replace(plain + quantized, plain + students)
    config.write_text(text.replace("[majority, linear]", "[majority]"))
    names = ["fp32", "distillation", "distillation-buckets64"]

    words = ("run", "configs/tiny.yaml", "--json", "--set", "pretrain=~", "--set", "search=~")
    ran = small_project.athanor(project, home, words)
    assert ran.code == 0, ran.err
    variants = ran.json["variants"]
    assert [variant["name"] for variant in variants] == names
    sizes = [variant["size_bytes"] for variant in variants]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3, "no two are one graph"
    steps = [step["name"] for step in ran.json["steps"]]
    assert len(steps) == len(set(steps))
    assert {f"compress-{name}" for name in names} < set(steps)
    assert [v["name"] for v in variants if v["selected"]] == ["distillation-buckets64"]

    [manifest] = home.glob("bundles/*/manifest.json")
    assert list(json.loads(manifest.read_text())["remake"]["variants"]) == sorted(names)
