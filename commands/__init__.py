"""What may be asked, the rules that answer, and what follows by itself."""
