"""How a word of the user's names steps of the chain."""

TRAINED = ("pretrain", "finetune")
"""Steps that can be trained by several processes."""
GROUPS = ("validate", "prepare", *TRAINED, "search", "baseline", "compress", "measure", "evaluate")
"""Steps, and groups of steps (`compress` means each chain), that work in a process of their own."""


def matches(wanted: str, name: str) -> bool:
    """Whether a step's name is the wanted one or one of its group: `validate` has `validate-x`."""
    return name == wanted or name.startswith(f"{wanted}-")
