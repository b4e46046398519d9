"""Our layers against PyTorch's own, and the properties that have no reference."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from components.architectures.cnn import Cnn
from components.layers import attention as own
from components.layers import ngrams, pooling
from components.layers.bag import Bag
from components.layers.heads import BranchClassifier
from components.layers.transformer import Layer
from tests.training import small


def padded(rows: int, length: int) -> torch.Tensor:
    """A mask of which every row has another number of tokens."""
    return torch.arange(length) < (torch.arange(rows) + 2)[:, None]


@pytest.mark.parametrize("length", [5, 300])
def test_attention_is_that_of_pytorch(length: int) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 3, 2, length, 8).unbind(0)
    mask = padded(3, length)
    wanted = functional.scaled_dot_product_attention(query, key, value, mask[:, None, None, :])
    found = own.attention(query, key, value, own.hidden_keys(mask, query.dtype))
    assert torch.allclose(found, wanted, atol=1e-5)


def test_the_kernel_is_chosen_by_length_and_format() -> None:
    assert not own.fused(torch.zeros(1, 1, 64, 8))
    assert own.fused(torch.zeros(1, 1, 512, 8))
    assert not own.fused(torch.zeros(1, 1, 512, 8, dtype=torch.bfloat16))
    assert own.fused(torch.zeros(1, 1, 64, 8, device="meta"))


def test_both_kernels_give_the_same_values_and_gradients() -> None:
    torch.manual_seed(0)
    parts = torch.randn(3, 2, 2, own.FUSED_FROM, 8)
    mask = padded(2, own.FUSED_FROM)
    found = []
    for number_format in (torch.float32, torch.float64):
        given = parts.detach().clone().to(number_format).requires_grad_()
        query, key, value = given.unbind(0)
        assert own.fused(query) == (number_format == torch.float32)
        answer = own.attention(query, key, value, own.hidden_keys(mask, number_format))
        answer.square().sum().backward()
        found.append((answer.double(), given.grad.double()))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_an_encoder_layer_is_that_of_pytorch_forward_and_backward() -> None:
    torch.manual_seed(0)
    theirs = nn.TransformerEncoderLayer(
        16, 4, 32, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    ours = Layer(16, 4, 4, 32, 0.0)
    pairs = {
        "attention_norm": theirs.norm1,
        "feedforward_norm": theirs.norm2,
        "output": theirs.self_attn.out_proj,
        "up": theirs.linear1,
        "down": theirs.linear2,
    }
    with torch.no_grad():
        for name, module in pairs.items():
            ours.get_submodule(name).load_state_dict(module.state_dict())
        ours.query_key_value.weight.copy_(theirs.self_attn.in_proj_weight)
        ours.query_key_value.bias.copy_(theirs.self_attn.in_proj_bias)
    states, mask = torch.randn(3, 7, 16), padded(3, 7)
    one, other = states.clone().requires_grad_(), states.clone().requires_grad_()
    found = ours(one, own.hidden_keys(mask, torch.float32))
    wanted = theirs(other, src_key_padding_mask=~mask)
    assert torch.allclose(found[mask], wanted[mask], atol=1e-5)
    found[mask].square().sum().backward()
    wanted[mask].square().sum().backward()
    assert torch.allclose(one.grad, other.grad, atol=1e-4)
    theirs.eval()
    with torch.no_grad():
        assert torch.allclose(
            found[mask], theirs(states, src_key_padding_mask=~mask)[mask], atol=1e-5
        )


@pytest.mark.parametrize("size", range(1, ngrams.LONGEST + 1))
def test_an_ngram_falls_into_one_bucket_wherever_it_stands(size: int) -> None:
    ids = torch.randint(3, 5000, (2, 12))
    ids[1, 4 : 4 + size] = ids[0, 1 : 1 + size]
    found = ngrams.buckets(ids, size, 1000)
    assert found.min() >= 0
    assert found.max() < 1000
    assert found[0, 1] == found[1, 4]


@pytest.mark.parametrize("size", range(1, ngrams.LONGEST + 1))
def test_buckets_are_those_of_exact_integers(size: int) -> None:
    ids = torch.randint(1, 2**30, (1, 8))
    row = [*ids[0].tolist(), *[0] * size]
    exact = [
        (sum(row[at + place] * ngrams.MULTIPLIERS[place] for place in range(size)) + size)
        % ngrams.PRIME
        % 997
        for at in range(8)
    ]
    assert ngrams.buckets(ids, size, 997)[0].tolist() == exact


def test_buckets_spread_evenly() -> None:
    ids = torch.arange(3, 40_003).reshape(100, 400)
    counts = torch.bincount(ngrams.buckets(ids, 2, 1000).flatten(), minlength=1000)
    assert counts.max() < 5 * counts.float().mean()


def test_the_order_within_an_ngram_matters() -> None:
    there, back = torch.tensor([[7, 9]]), torch.tensor([[9, 7]])
    assert ngrams.buckets(there, 2, 65_536)[0, 0] != ngrams.buckets(back, 2, 65_536)[0, 0]


def test_a_masked_token_hides_its_ngrams() -> None:
    torch.manual_seed(0)
    bag = Bag((30, 64, 64), 4, "mean_maximum")
    first, second = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[5, 9, 7, 8]])
    assert not torch.equal(bag(ids=first).pooled[0], bag(ids=second).pooled[0])
    first[0, 1] = second[0, 1] = 2
    assert torch.equal(bag(ids=first).pooled[0], bag(ids=second).pooled[0])


def test_pooling_looks_at_tokens_only() -> None:
    states = torch.tensor([[[1.0, -5.0], [3.0, -1.0], [100.0, 100.0]]])
    mask = torch.tensor([[True, True, False]])
    assert pooling.mean(states, mask).tolist() == [[2.0, -3.0]]
    assert pooling.maximum(states, mask).tolist() == [[3.0, -1.0]]
    assert torch.allclose(pooling.unit(states, mask), torch.tensor([[0.5547, -0.8321]]), atol=1e-4)
    assert torch.allclose(pooling.root(states, mask), torch.tensor([[2.8284, -4.2426]]), atol=1e-4)
    nothing = torch.zeros_like(mask)
    assert pooling.mean(states, nothing).tolist() == [[0.0, 0.0]]
    assert pooling.maximum(states, nothing).tolist() == [[0.0, 0.0]]
    assert pooling.root(states, nothing).tolist() == [[0.0, 0.0]]
    assert pooling.unit(states, nothing).tolist() == [[0.0, 0.0]]


def test_the_answer_of_several_branches_is_the_mean_of_theirs() -> None:
    torch.manual_seed(0)
    head = BranchClassifier((3, 4), 2, 0.5).eval()
    encoded = small.model(small.recipe(), small.TEXT).backbone(ids=torch.ones(5, 3).long())
    encoded = encoded._replace(pooled=(torch.randn(5, 3), torch.randn(5, 4)))
    first, second = head.each(encoded)
    assert torch.allclose(head(encoded), (first + second) / 2)


@pytest.mark.parametrize(("pool", "values"), [("grid", 4), ("global", 1)])
@pytest.mark.parametrize("side", [4, 7, 8])
def test_an_image_is_pooled_to_its_quarters_or_to_one(pool: str, values: int, side: int) -> None:
    spec = small.IMAGE.model_copy(update={"mean": 0.0, "std": 1.0})
    backbone = Cnn(channels=(3,), halvings=0, pooling=pool).build(spec)
    [pooled] = backbone(pixels=torch.rand(2, 1, side, side)).pooled
    assert pooled.shape == (2, 3 * values)


def test_scaling_happens_inside_the_network() -> None:
    torch.manual_seed(0)
    raw = Cnn(channels=(3,), halvings=0).build(small.IMAGE).eval()
    torch.manual_seed(0)
    scaled = Cnn(channels=(3,), halvings=0).build(
        small.IMAGE.model_copy(update={"mean": 0.0, "std": 1.0})
    )
    pixels = torch.randint(0, 256, (2, 1, 8, 8)).float()
    [found] = raw(pixels=pixels).pooled
    [wanted] = scaled.eval()(pixels=(pixels - 60.0) / 70.0).pooled
    assert torch.allclose(found, wanted)
