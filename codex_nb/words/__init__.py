"""Every word that a person reads, in one place: what happened, why, what to do next.

A module a subject. A fixed text is a constant, several of one kind are a ``dict`` of them; a text with values is a
function of ``str`` parameters only, so that each can be shown with its parameters' names in their places:
``docs/messages.md`` is written from here.
"""
