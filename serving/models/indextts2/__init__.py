"""IndexTTS2: zero-shot speech with a reference voice and an emotion."""

from serving.models.indextts2.frontend import create_frontend

__all__ = ["create_frontend"]
