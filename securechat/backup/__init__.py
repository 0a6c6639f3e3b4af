"""Backups: all rows of one moment in one encrypted file, and back.

    snapshot ─► archive ─► encryption ─► new_file          manage.py backup
    loading, verifying ◄─ archive ◄─ encryption            manage.py restore

The server's own keys are never in an archive; ``key_bundle`` copies them into a file of their own, when asked.
"""
