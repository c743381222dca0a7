"""IndexTTS2: zero-shot speech with a reference voice and an emotion."""
