"""Reading and writing XLSX and CSV."""
