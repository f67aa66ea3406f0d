"""Asking a table for a page of rows: filters, the plan of columns, text search."""
