"""How the bytes under `data/` come to be, are proven to be the recorded ones, and stay whole.

`configs/data/sources.lock.json` pins archives of the package index; `build` makes every data set
from them, byte for byte the same on any machine; `configs/data/tree.json` lists the md5 of every
file, and its own hash is the one that DVC keeps in `data.dvc`.
"""
