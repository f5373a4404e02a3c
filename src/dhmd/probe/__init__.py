"""The command ``dhmd probe``: the embedded corpus' planted truth in what networks learned."""
