"""IndexTTS2 offline, on a CPU and on a GPU, beside the official package."""
