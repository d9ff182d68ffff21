"""Exercises: judged by what they do on the wire, and derived from their solutions."""
