"""The contract of the plug-in studio, and projects."""
