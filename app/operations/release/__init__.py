"""From code to the mini-program that users see: uploaded, audited, released, rolled back, read back."""
