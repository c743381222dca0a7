"""Text to semantic codes and their latents: the autoregressive code model and its sampling."""
