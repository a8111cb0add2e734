"""The magics: what a person types. Importing this package stays light; work is imported when a cell runs."""
