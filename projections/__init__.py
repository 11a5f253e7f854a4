"""What can be seen. May be dropped and folded again at any time, so never a side effect."""
