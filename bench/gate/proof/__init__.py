"""Can the gate be believed? Slow-downs of a known size, planted and looked for; and recorded noise."""
