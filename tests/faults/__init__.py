"""Faults injected into real workers on a real broker, and the proof that nothing came of them."""
