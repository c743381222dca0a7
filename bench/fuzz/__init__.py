"""Requests drawn from the server's own OpenAPI document, right ones and wrong ones, by schemathesis."""
