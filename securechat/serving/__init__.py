"""What `manage.py serve` runs: Daphne with guards, TLS, a port that redirects, and a Valkey of its own."""

SEND_AT_ONCE = "securechat.send_at_once"
"""An extension of a socket's ASGI scope: sends a text now and answers true, or false where there is no room or no open socket."""
TAKE_AT_ONCE = "securechat.take_at_once"
"""Another: a function that is given one by the application, which then gets each text (its UTF-8, unchecked) the moment it is here
and nothing of this socket waits before it. It answers false for a text that has to be waited for, which comes as an event then."""
