"""Where jobs wait for runners."""
