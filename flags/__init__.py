"""absl flags by concern; each file defines flags and turns them into a config."""
