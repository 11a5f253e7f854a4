"""The routes of plug-in activation."""
