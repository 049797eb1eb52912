"""HTTP for every role: server, errors, middleware and client, over Falcon and waitress."""
