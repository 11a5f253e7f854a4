"""Objects too big for events: the S3 store and the uploads that fill it."""
