"""The official files: fetched, read, converted, loaded; or random weights of the same shapes."""
