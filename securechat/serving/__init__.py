"""What `manage.py serve` runs: Daphne with guards, TLS, a port that redirects, and a Valkey of its own."""

SEND_AT_ONCE = "securechat.send_at_once"
"""An extension of a socket's ASGI scope: sends a text now and answers true, or false where there is no room or no open socket."""
