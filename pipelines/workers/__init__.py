"""Workers: processes that run the flows and the steps of others, each on the right device.

`pools` is what Prefect knows of us, `worker` the loop of the one worker of a machine, `process`
what it forks for a flow run, `flows` the table of what such a process may run. `places` are the
slots and devices that a step holds while it runs. `dispatch` is the other end: a run that lets a
worker do a step. `standing` starts and stops the worker of this home.
"""
