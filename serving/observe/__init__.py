"""What both processes write for their operator: log lines that name the request."""
