"""Walks the tree of commands."""

from typer.main import get_command

from streams.main import app


def commands(node=None, path=""):
    """Yield the path and the command of every leaf."""
    node = node or get_command(app)
    for name, one in node.commands.items():
        if hasattr(one, "commands"):
            yield from commands(one, f"{path}{name} ")
        else:
            yield f"{path}{name}", one
