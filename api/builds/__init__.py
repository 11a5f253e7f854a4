"""The routes of builds and runners."""
