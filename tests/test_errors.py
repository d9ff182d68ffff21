"""The tree of errors."""

import inspect

from labserver import errors


def classes():
    """Every error that the module defines."""
    return {name: each for name, each in vars(errors).items() if inspect.isclass(each)}


def test_the_docstring_draws_every_error():
    """The tree in the module's docstring names every error, and no other."""
    drawn = {line.split()[1] for line in errors.__doc__.splitlines() if "──" in line}
    assert drawn == set(classes()) - {"LabError"}


def test_every_error_is_a_lab_error_with_a_docstring():
    """Every error can be caught as LabError, and says what it is for."""
    for each in classes().values():
        assert issubclass(each, errors.LabError) and each.__doc__


def test_errors_are_also_pythons_own():
    """Code that knows nothing of labserver can catch its errors as Python's."""
    assert issubclass(errors.PortInUse, OSError)
    assert issubclass(errors.TimeLimit, TimeoutError)
    assert issubclass(errors.NotAnApplication, TypeError)
