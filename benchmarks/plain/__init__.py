"""Plain implementation of DMD in the manner of its authors' code, the reference for the speed of the suite's network.

It computes the same mathematics and is fast nowhere on purpose: sequences are (T, B, d) between encoders, attention is explicit, every
encoder is called by itself, the margin loss is a loop. Parameters have the names of the authors' checkpoints, so that
``dhmd.interop.dmd_from_authors`` reads them.
"""
