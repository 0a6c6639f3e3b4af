"""What `manage.py serve` runs: Daphne with guards, TLS, a port that redirects, and a Valkey of its own."""
