"""`make demo-kb`: documents are cut into chunks, embedded, loaded, asked, and the answers are judged."""
