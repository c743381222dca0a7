"""Speech over WebSockets: text in as it is written, audio out as it is spoken."""
