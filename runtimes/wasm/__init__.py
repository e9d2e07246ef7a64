"""What runs WebAssembly, and the JavaScript around it, read as package data."""
