"""Text to segments of SentencePiece ids. No torch."""
