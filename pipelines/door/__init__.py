"""The door: the one address of a home at which workers of other machines are served.

MLflow and Prefect stay on 127.0.0.1. Who has the token takes steps here, gets what they read,
shows their journal and hands in what they came to; to the run that waits, and to Prefect, it
looks as if they had been executed in this home. `talk` is what is said at the door, `app` the
addresses, `desk` who has which step, `streams` the journals that arrive, `opening` the token.
"""
