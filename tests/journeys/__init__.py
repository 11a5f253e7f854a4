"""What people do with the service, from outside: the running stack is the fixture `stack` in `fixtures.py`."""
