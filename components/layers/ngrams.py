"""Character n-grams hashed inside the model, by integer arithmetic on token ids.

Because the hash is computed from the ids that the model reads, a masked token hides its n-grams
too, and the graph needs nothing but ids.
"""

from torch import Tensor
from torch.nn import functional

PRIME = 2_147_483_647
MULTIPLIERS = (776_531_419, 1_299_709_981, 1_500_450_271, 879_190_747, 1_076_537_293)
"""One per place in the n-gram; with ids below 2^30 no product leaves 64 bits."""
LONGEST = len(MULTIPLIERS)


def buckets(ids: Tensor, size: int, table: int) -> Tensor:
    """Bucket below `table` of the n-gram of `size` tokens that starts at each place.

    ids: (batch, length) int64, 0 where padded. Past the end every place counts as padding, so
    the last n-grams of a row are the same however far it is padded.
    """
    total = ids * MULTIPLIERS[0] + size
    for place in range(1, size):
        total = total + functional.pad(ids, (0, place))[:, place:] * MULTIPLIERS[place]
    return total % PRIME % table
