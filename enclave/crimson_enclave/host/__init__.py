"""Around the session: files, the one socket, the launcher outside and the program inside the sandbox."""
