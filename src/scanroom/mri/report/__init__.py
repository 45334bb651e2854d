"""What people read: pictures, numbers, warnings."""
