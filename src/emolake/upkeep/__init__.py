"""What keeps a lake right: verify, maintain, erase, gaps, doctor."""
