"""Workers: processes that run the flows and the steps of others, each on the right device.

`pools` is what Prefect knows of us, `worker` the loop of the one worker of a machine, `forked` the
process of one flow run, `flows` the table of what such a process may run, `process` and `ends` who
executes what and how it ended. `dispatch` is the other end: a run that lets a worker do a step.
`standing`, `keeper` and `upkeep` start, heal and drain the worker of this home.
"""
