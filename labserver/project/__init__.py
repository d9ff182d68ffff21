"""The reference project: plain Django and Channels, as the course arrives at it.

Room: imports nothing else of labserver, so that it can be lifted out as it stands. It runs in a kernel with
`serve("labserver.project.asgi:application")`, and alone with `daphne labserver.project.asgi:application`.
"""
