"""The run file: writer, reader, schema, export."""
