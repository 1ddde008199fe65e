"""Measures Shoal and raw FAISS in the same run, over the same graphs. It asserts nothing."""
