"""Many runs by one command: how a sweep and its jobs are named, what state each is in, and how jobs are started."""
