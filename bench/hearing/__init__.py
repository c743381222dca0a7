"""What is heard of the timed audio: every wave by its samples, a share of them by a recogniser."""
