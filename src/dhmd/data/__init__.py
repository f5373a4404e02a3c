"""Conversion of feature files to batches: pickles are checked and converted once to an HDF5 store, which the data module reads.

``pickles`` opens a file safely, ``fields`` and ``corpus`` check it, ``hdf5`` writes the store, ``store`` reads it, ``dataset``,
``loader`` and ``module`` make batches, ``synthetic`` generates the embedded corpus, ``catalog`` knows the published files.
"""
