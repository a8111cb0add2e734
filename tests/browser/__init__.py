"""What a person sees and touches: real JupyterLab and Notebook 7 in headless Chromium."""
