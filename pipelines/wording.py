"""Words for people."""


def counted(number: int, noun: str) -> str:
    """A number with its noun, whose plural ends in s: `no slots`, `1 slot`, `12 slots`."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
