"""What `make` runs. Everything up to the first `pip install` needs nothing but Python's standard library."""
