/* The weights of nmnist, read-only. */
#if defined(__APPLE__)
    .section __TEXT,__const
    .p2align 6
    .globl _nmnist_weights
_nmnist_weights:
    .incbin "nmnist_weights.bin"
#else
    .section .rodata.nmnist_weights, "a", %progbits
    .balign 64
    .globl nmnist_weights
    .hidden nmnist_weights
    .type nmnist_weights, %object
    .size nmnist_weights, 85864
nmnist_weights:
    .incbin "nmnist_weights.bin"
    .section .note.GNU-stack, "", %progbits
#endif
