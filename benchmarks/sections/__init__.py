"""Sections of the benchmark, one question a file.

A section has ``TITLE``, ``measure(settings)``, which returns plain JSON, and ``tables(found)``, which makes markdown of it; if needed,
``missing()``, which says why it cannot be measured here, and ``prepared(*arguments)``, the work whose memory `benchmarks.peak` measures.
It is named in ``benchmarks.record.SECTIONS``, and its tables stand between markers in docs/performance.md.
"""
