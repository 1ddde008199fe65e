"""Measures Shoal beside raw FAISS in the same run, over the same graphs. It measures; it asserts nothing."""
