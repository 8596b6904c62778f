"""What measures Freshloop; run by ``freshloop bench NAME``."""
