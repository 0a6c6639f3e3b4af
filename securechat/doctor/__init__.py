"""`manage.py doctor`: what a deployment needs, looked at in one go, each with how to mend it."""
