"""A made-up context with layers of its own: that it works shows that a context changes nothing outside its folders."""
