"""The servers under test, and how they are started and stopped."""
