"""Just enough of C's library for a program on an emulated board, through ARM's semihosting."""
