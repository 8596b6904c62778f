"""The console: a web page to feel the loop, see why, watch it and disturb it. Uses the parts' HTTP alone."""
