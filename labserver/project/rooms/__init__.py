"""Rooms: what one member sends, every member of the same room receives."""
