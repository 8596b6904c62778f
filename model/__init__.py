"""Towers, recurrent step, heads, training, gate and registry; the NumPy form that serves them."""
