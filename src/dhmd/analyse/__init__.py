"""The command ``dhmd analyse``: tables, arrays and figures of a run."""
