"""Which updates a round leaves out, judged by their sketches alone."""
