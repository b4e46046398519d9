"""What a fork server imports first: its imports make many objects and no garbage.

Looking for garbage all the same would be a quarter of their time. `pipelines.child.forked` turns
it on again in every process that is forked.
"""

import gc

gc.disable()
