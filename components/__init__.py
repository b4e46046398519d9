"""The work: steps and the families that they build on. Nothing here knows Prefect."""
