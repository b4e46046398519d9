"""A worker whose runs live on another machine: it joins that machine's door.

`worker` is its loop, `step` the process of one step, `server` how it speaks to the door, `mirror`
shows the step's journal there, `bringing` fetches what a step reads and hands in what it made,
`joining` is what must be alike before it begins.
"""
