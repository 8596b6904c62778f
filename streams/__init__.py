"""The stream: Faust workers that keep user states, score fresh videos and publish slates."""
