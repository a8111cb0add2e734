"""The public face as a type checker sees it; checked by pyright, never run."""
