"""Asking for a user to be forgotten, and looking whether it was done. Not a part of the stream: commands use it."""
