"""The home as a whole: copied while it is used, put back, moved, brought to a newer layout."""
