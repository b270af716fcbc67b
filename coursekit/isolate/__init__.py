"""Run a student's code in a process of its own, as well isolated as the machine allows.

`launch.best()` chooses a launcher; its `start(limits)` gives a `handle.Child` that runs cells and answers calls.
Whatever comes back from a child is hostile until it has been checked: sizes, deadlines and form.
"""

__all__: list[str] = []
