"""Many runs: a plan of them as data, and what executes it.

A plan (`plan.py`) is a file of jobs. Processes on any number of machines take free jobs of it
(`work.py`) and agree by files in a shared folder (`claims.py`). A launcher, one per file, starts
such processes. There is no scheduler here.
"""
