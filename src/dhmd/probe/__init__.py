"""The command ``dhmd probe``: the planted truth of the embedded corpus in trained networks."""
