"""The admin kit on FAB: lists, forms, rows and their operations for any table of the models."""
