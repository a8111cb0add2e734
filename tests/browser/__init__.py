"""The user interface in real JupyterLab and Notebook 7, in headless Chromium."""
