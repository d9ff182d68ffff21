"""A chat over WebSockets: Django for HTTP, Channels for the rest. README.md leads through it."""
