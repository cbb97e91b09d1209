"""What a run is on disk, and what a person sees while it trains."""
