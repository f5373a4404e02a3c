"""What is measured, one question a file: ``measure`` gives plain JSON, ``tables`` makes markdown of it."""
