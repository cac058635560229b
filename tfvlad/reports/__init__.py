"""HTML pages from results; no computation."""
