"""Other systems, measured in the same run on the same work: one file each."""
