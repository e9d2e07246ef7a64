"""What runs inside an emulator."""
