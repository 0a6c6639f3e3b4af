"""What the chat is measured against."""
