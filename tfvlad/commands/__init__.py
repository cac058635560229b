"""One file per command: reads flags, calls the library, prints."""
