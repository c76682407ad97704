"""Where vectors come from: the pool of this machine, OpenAI, or a server with OpenAI's API."""
