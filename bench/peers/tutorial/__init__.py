"""A chat as the tutorial of Channels leads to: a group for each room, and a row saved for each message."""
