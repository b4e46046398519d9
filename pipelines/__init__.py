"""The order of the steps and where each one runs. Only this package imports Prefect."""
