"""The gRPC edge: decodes requests, calls the application, encodes answers and errors."""
