"""The HDF5 store: its writer, its reader, and other splits of its samples."""
