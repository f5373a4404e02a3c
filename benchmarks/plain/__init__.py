"""DMD written plainly, in the manner of its authors' code: what the suite's network is measured against.

It computes the same mathematics and is fast nowhere on purpose: sequences are (T, B, d) between encoders, attention is explicit, every
encoder is called by itself, the margin loss is a loop. Parameters have the names of the authors' checkpoints, so that
``dhmd.interop.dmd_from_authors`` reads them.
"""
