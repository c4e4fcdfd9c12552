"""The broker that agents meet on: started, checked, and whom it lets in."""
