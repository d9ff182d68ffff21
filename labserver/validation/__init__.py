"""Notebooks held to what they claim: nbval made strict, run twice, leaks counted, lint, and stored outputs refreshed.

Room: notebooks and kernels. It knows nothing of Django, Channels or Twisted, imports nothing of labserver but
`errors`, and so serves anybody's notebooks.

    book      notebook files found and read, cells named, outputs in the one form in which they are compared
    session   one kernel: started, talked to, and its death told with its last words
    lint      what can be judged without running anything
    plugin    nbval's holes closed, as a pytest plugin; compare runs pytest with it
    rerun     the whole notebook twice in one kernel, the second time each cell twice
    ledger    ports, tasks, threads and descriptors before and after
    refresh   notebooks run again and stored, the same bytes each time
    command   `labserver validate PATH…`
"""
