"""Real API servers, as plain processes, behind the lab's own sockets."""
