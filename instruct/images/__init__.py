"""Images: the files that records refer to."""
