"""`make demo-images`: pictures become vectors, are loaded, and are searched on a page in the browser."""
