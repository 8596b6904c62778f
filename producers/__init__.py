"""Where events come from: simulated viewers and studio, recorded logs, load."""
