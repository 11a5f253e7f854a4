"""The plug-in studio and its projects."""
