"""Notebooks held to what they claim: nbval made strict, run twice, leaks counted, lint, and stored outputs refreshed.

Room: notebooks and kernels. It knows nothing of Django, Channels or Twisted, imports nothing of labserver but
`errors`, and so serves anybody's notebooks.

    book        notebook files found and read, cells named, outputs in the one form in which they are compared
    difference  where two runs' outputs differ first, side by side
    rules       a sanitize file: what is not compared, and whether that is too much
    lint        what can be judged without running anything
    session     one kernel: started, talked to, and its death told with its last words
    kernel      nbval's kernel, which tells more and can be asked many cells at once
    cells       nbval's items made strict: each cell compared, then all again, each twice in a row
    ledger      ports, tasks, threads and descriptors before and after
    plugin      the pytest plugin of these, and its report
    run         pytest as a process of its own, with the plugin
    refresh     notebooks run again and stored, the same bytes each time
    command     `labserver validate PATH…`; progress, junit and passed are what it shows, writes and remembers
"""

import sys

if "jsonschema" not in sys.modules and "rfc3987_syntax" not in sys.modules:
    # nbformat imports jsonschema, and that, if it is there, a parser of IRIs, which is made anew in each process: more
    # than a second, in every one that pytest starts. No schema of a notebook asks for it.
    sys.modules["rfc3987_syntax"] = None
    import jsonschema  # noqa: F401

    del sys.modules["rfc3987_syntax"]
