"""Answers kept on disk: what an answer depends on, and where its bytes lie."""
