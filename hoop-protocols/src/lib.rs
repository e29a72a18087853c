//! What was said over a connection, from the bytes of both directions.
