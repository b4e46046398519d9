"""Imported by every Python process that finds this folder on its path; quiet without a plan."""

import os

if "ATHANOR_FAULT" in os.environ:
    import injection

    injection.arm()
