"""What the ways to the same speech cost: OpenAI's path, the coded formats, and text over a WebSocket."""
