"""`syncer completion`: what a shell reads to complete the words of a command line."""

from __future__ import annotations

import enum
from typing import Annotated

import typer


class Shell(enum.StrEnum):
    """A shell for which there is a script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


_SCRIPTS = {
    Shell.BASH: r"""_syncer() {
    local line="${COMP_LINE:0:COMP_POINT}" value word before
    COMPREPLY=()
    while IFS=$'\t' read -r value _; do
        COMPREPLY+=("$value")
    done < <("${COMP_WORDS[0]}" --complete "$line" 2>/dev/null)
    word="${line##*[[:space:]]}"
    if [[ $word == *:* && $COMP_WORDBREAKS == *:* ]]; then
        before="${word%"${word##*:}"}"
        COMPREPLY=("${COMPREPLY[@]#"$before"}")
    fi
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *: ]]; then
        compopt -o nospace
    fi
}
complete -o default -F _syncer syncer
""",
    Shell.ZSH: r"""#compdef syncer
_syncer() {
    local value help
    local -a found
    while IFS=$'\t' read -r value help; do
        found+=("${value//:/\\:}${help:+:$help}")
    done < <("${words[1]}" --complete "${(j: :)words[1,CURRENT]}" 2>/dev/null)
    if (( $#found )); then
        _describe syncer found
    else
        _files
    fi
}
compdef _syncer syncer
""",
    Shell.FISH: r"""complete -c syncer -a '(syncer --complete (commandline -cp) 2>/dev/null)'
""",
}


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print what a shell reads to complete commands, options and names of syncs."""
    print(_SCRIPTS[shell], end="")
