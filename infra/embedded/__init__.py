"""PostgreSQL, NATS and an S3 store as child processes on loopback, each keeping everything in one directory.

They start from binaries that come with the Python packages: no container, no system service, no root. A server's
directory is locked for as long as the server itself lives, because the server inherits the lock: whoever holds the lock
knows that nobody else writes there, whatever stale pid files say. The servers die with the process that started them.
"""
