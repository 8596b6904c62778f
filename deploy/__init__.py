"""What runs Freshloop: the embedded broker, the process supervisor, the demo."""
