"""The live server inside the kernel. Uses trace and errors; nothing here knows about courses or notebooks on disk."""
