"""What a listener hears of one server, one request at a time: when the sound begins, pauses, pace, words."""
