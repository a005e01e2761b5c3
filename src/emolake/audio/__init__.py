"""Sound: containers, declared lengths, voice activity and features."""
