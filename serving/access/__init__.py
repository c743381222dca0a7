"""Who may call the server and how much: API keys by their digests, and what each key has used."""
