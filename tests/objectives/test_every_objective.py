"""What every file in components/objectives promises, and what each one promises by itself."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from components import objectives, options
from components.architectures import Gives
from components.layers.backbone import Encoded
from components.objectives import Guidance, Objective, Softening
from components.objectives.classification import Classification
from components.objectives.masked_lm import MaskedLanguageModel
from components.spec import MASK, PAD
from tests.training import small

KINDS = options.kinds(objectives.__name__)
GIVES = Gives(states=16, pooled=(32,), embedding=8)
ROWS = np.arange(24)


def batch_of(objective: Objective, seed: int = 0) -> dict[str, np.ndarray]:
    rows = small.examples(small.prepared())
    return objective.arrange(rows.batch(ROWS), small.TEXT, np.random.default_rng(seed))


def tensors(batch: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in batch.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_finite_its_gradient_reaches_the_backbone_and_the_metric_is_told(
    kind: str,
) -> None:
    objective = Objective.model_validate({"kind": kind})
    recipe = small.recipe(objective={"kind": kind})
    model = small.model(recipe, small.TEXT)
    batch = tensors(batch_of(objective))
    encoded = model.backbone(ids=batch["ids"])
    total, terms = objective.loss(encoded, model.head, batch)
    assert torch.isfinite(total)
    assert terms > 0
    total.backward()
    assert model.backbone.embedding.table.weight.grad.abs().sum() > 0
    found = objective.scores(encoded, model.head, batch)
    assert {"loss", objective.metric} <= found.keys()
    assert all(count > 0 for _, count in found.values())


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_a_sum_so_halves_add_up_to_the_whole(kind: str) -> None:
    objective = Objective.model_validate({"kind": kind})
    model = small.model(small.recipe(objective={"kind": kind}), small.TEXT).eval()
    batch = tensors(batch_of(objective))

    def of(part: slice) -> tuple[float, int]:
        cut = {name: value[part] for name, value in batch.items()}
        total, terms = objective.loss(model.backbone(ids=cut["ids"]), model.head, cut)
        return total.item(), terms

    first, second, whole = of(slice(0, 10)), of(slice(10, 24)), of(slice(0, 24))
    assert first[1] + second[1] == whole[1]
    assert first[0] + second[0] == pytest.approx(whole[0], rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_arranging_draws_from_its_generator_only(kind: str) -> None:
    objective = Objective.model_validate({"kind": kind})
    np.random.seed(1)
    first = batch_of(objective, 3)
    np.random.seed(2)
    again = batch_of(objective, 3)
    assert all(np.array_equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize("kind", KINDS)
def test_the_record_survives_json(kind: str) -> None:
    objective = Objective.model_validate({"kind": kind})
    assert Objective.model_validate_json(objective.model_dump_json()) == objective
    assert objective.direction in ("maximize", "minimize")
    assert objective.test in ("mcnemar", "bootstrap")


def classified(logits: torch.Tensor, softening: Softening, **batch: torch.Tensor) -> float:
    """The loss of one branch whose head gives these logits."""

    class Fixed(torch.nn.Module):
        def each(self, encoded: Encoded) -> list[torch.Tensor]:
            return [logits]

    total, _ = Classification().loss(Encoded(None, (logits,), None), Fixed(), batch, softening)
    return total.item()


def test_classification_is_cross_entropy_with_smoothing() -> None:
    torch.manual_seed(0)
    logits, label = torch.randn(6, 3), torch.randint(0, 3, (6,))
    wanted = functional.cross_entropy(logits, label, reduction="sum", label_smoothing=0.1)
    found = classified(logits, Softening(0.1), label=label)
    assert found == pytest.approx(wanted.item(), rel=1e-6)


def test_guidance_mixes_labels_and_the_softened_teacher() -> None:
    torch.manual_seed(0)
    logits, teacher = torch.randn(2, 6, 3).unbind(0)
    label = torch.randint(0, 3, (6,))
    hard = functional.cross_entropy(logits, label, reduction="sum")
    wanted, heat = (teacher / 3).softmax(1), (logits / 3).log_softmax(1)
    soft = 9 * (wanted * (wanted.log() - heat)).sum()
    found = classified(
        logits, Softening(0.0, Guidance(alpha=0.7)), label=label, teacher_logits=teacher
    )
    assert found == pytest.approx((0.3 * hard + 0.7 * soft).item(), rel=1e-5)


def test_a_student_that_agrees_with_its_teacher_has_nothing_to_learn() -> None:
    logits = torch.randn(6, 3)
    softening = Softening(0.0, Guidance(alpha=1.0))
    label = torch.zeros(6, dtype=torch.int64)
    found = classified(logits, softening, label=label, teacher_logits=logits)
    assert found == pytest.approx(0.0, abs=1e-5)


def test_every_branch_answers_for_itself_and_for_the_mean() -> None:
    torch.manual_seed(0)
    objective = Classification(dropout=0.0)
    head = objective.head(Gives(states=None, pooled=(3, 5)), small.TEXT)
    encoded = Encoded(None, (torch.randn(4, 3), torch.randn(4, 5)), None)
    label = torch.tensor([0, 1, 1, 0])
    first, second = head.each(encoded)
    answers = [(first + second) / 2, first, second]
    wanted = sum(functional.cross_entropy(each, label, reduction="sum") for each in answers) / 3
    total, _ = objective.loss(encoded, head, {"label": label})
    assert total.item() == pytest.approx(wanted.item(), rel=1e-6)
    told, _ = objective.scores(encoded, head, {"label": label})["loss"]
    assert told.item() == pytest.approx(
        functional.cross_entropy(answers[0], label, reduction="sum").item(), rel=1e-6
    )


def masked(ids: np.ndarray, **fields: object) -> dict[str, np.ndarray]:
    spec = small.TEXT.model_copy(update={"vocabulary_size": 1000})
    objective = MaskedLanguageModel.model_validate(fields)
    return objective.arrange({"ids": ids}, spec, np.random.default_rng(0))


def test_masking_hides_replaces_and_leaves_in_the_stated_shares() -> None:
    ids = np.random.default_rng(1).integers(3, 1000, (400, 100))
    found = masked(ids)
    chosen = found["target"] != PAD
    assert chosen.mean() == pytest.approx(0.15, abs=0.01)
    assert np.array_equal(found["target"][chosen], ids[chosen])
    assert np.array_equal(found["ids"][~chosen], ids[~chosen])
    hidden = found["ids"][chosen] == MASK
    left = found["ids"][chosen] == ids[chosen]
    assert hidden.mean() == pytest.approx(0.8, abs=0.02)
    assert left.mean() == pytest.approx(0.1, abs=0.02)
    assert found["ids"][chosen & (found["ids"] != ids)].min() >= MASK, "never padding or unknown"


def test_padding_is_never_masked() -> None:
    ids = np.zeros((50, 40), dtype=np.int64)
    ids[:, :5] = 7
    found = masked(ids, share=0.9)
    assert (found["ids"][:, 5:] == PAD).all()
    assert (found["target"][:, 5:] == PAD).all()


def test_a_batch_of_one_token_has_something_to_guess() -> None:
    found = masked(np.array([[5]]), share=0.01)
    assert found["target"].tolist() == [[5]]


def test_a_batch_without_tokens_costs_nothing_and_breaks_nothing() -> None:
    found = masked(np.zeros((2, 3), dtype=np.int64))
    assert not found["target"].any()
    model = small.model(small.recipe(objective={"kind": "masked_lm"}), small.TEXT)
    batch = tensors(found)
    total, terms = MaskedLanguageModel().loss(model.backbone(ids=batch["ids"]), model.head, batch)
    assert (total.item(), terms) == (0.0, 0)


@pytest.mark.parametrize("output", ["shared", "own"])
def test_the_vocabulary_is_read_at_the_chosen_places_alone(output: str) -> None:
    objective = MaskedLanguageModel(output=output)
    recipe = small.recipe(objective=objective.model_dump())
    model = small.model(recipe, small.TEXT).eval()
    batch = tensors(batch_of(objective))
    encoded = model.backbone(ids=batch["ids"])
    places = batch["target"] != PAD
    wanted = functional.cross_entropy(
        model.head(encoded)[places], batch["target"][places], reduction="sum"
    )
    total, terms = objective.loss(encoded, model.head, batch)
    assert terms == places.sum()
    assert total.item() == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("objective", "gives", "spec", "match"),
    [
        (
            MaskedLanguageModel(),
            Gives(states=None, pooled=(4,)),
            small.IMAGE,
            "needs a state per token",
        ),
        (MaskedLanguageModel(), GIVES, small.IMAGE, "needs tokens, the data are image"),
        (MaskedLanguageModel(masked=0.9, replaced=0.2), GIVES, small.TEXT, "exceed 1"),
        (Classification(), Gives(states=4, pooled=()), small.TEXT, "needs a pooled vector"),
        (
            Classification(),
            GIVES,
            small.TEXT.model_copy(update={"labels": ("one",)}),
            "at least two labels",
        ),
    ],
)
def test_misfits_are_refused(objective: Objective, gives: Gives, spec: object, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        objective.check(gives, spec)
