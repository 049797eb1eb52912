"""``basalt completion``: the script that lets a shell complete nouns, verbs and names."""

import click
from click import shell_completion

from appliance.cli import command, output

#: Set by the shell's script when it asks what a word could become.
VARIABLE = "_BASALT_COMPLETE"


@click.command(cls=command.Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    bash: eval "$(basalt completion bash)" in ~/.bashrc. zsh: the same in ~/.zshrc.
    fish: basalt completion fish > ~/.config/fish/completions/basalt.fish
    """
    cls = shell_completion.get_completion_class(shell)
    assert cls is not None, "click knows the shells offered above"
    maker = cls(ctx.find_root().command, {}, "basalt", VARIABLE)
    # Not source(): it refuses an old or missing bash here, but the script may be for elsewhere.
    output.line(maker.source_template % maker.source_vars())


def answer(root: click.Command, instruction: str) -> int:
    """Tell the shell's script what it asks for, and return the exit code."""
    return shell_completion.shell_complete(root, {}, "basalt", VARIABLE, instruction)
