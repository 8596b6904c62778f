"""Content: what a video looks, sounds and reads like, as vectors; decoding, towers, their training and serving form."""
