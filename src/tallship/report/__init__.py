"""What people and programs see: progress, tables, errors, the JSON envelope."""
