/* Start-up and input and output of a program on a Cortex-M without operating system: requests to the
 * emulator or debugger, by "Semihosting for AArch32 and AArch64" (ARM). memset and memcpy come with
 * the compiler. */
#include <stdarg.h>
#include <stdint.h>

#include "stdio.h"
#include "stdlib.h"
#include "string.h"

enum { SYS_OPEN = 1, SYS_WRITE = 5, SYS_READ = 6, SYS_GET_CMDLINE = 0x15, SYS_EXIT_EXTENDED = 0x20 };
enum { MODE_READ = 1, MODE_WRITE = 5 };
#define ADP_STOPPED_APPLICATION_EXIT 0x20026
#define COPROCESSOR_ACCESS (*(volatile uint32_t *)0xE000ED88)
#define MOST_ARGUMENTS 4

int main(int argc, char **argv);
void start(void);

static uint8_t stack[65536] __attribute__((aligned(16)));

__attribute__((section(".vectors"), used)) static const void *const vectors[] = {
    stack + sizeof stack, (const void *)start};

static intptr_t request(intptr_t operation, const void *block)
{
    register intptr_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = block;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static intptr_t handle(int file)
{
    static const char *const names[] = {"/dev/stdin", "/dev/stdout", "/dev/stderr"};
    static intptr_t handles[] = {-1, -1, -1};
    if (handles[file] < 0) {
        const intptr_t block[] = {(intptr_t)names[file], file == stdin ? MODE_READ : MODE_WRITE,
                                  (intptr_t)strlen(names[file])};
        handles[file] = request(SYS_OPEN, block);
    }
    return handles[file];
}

size_t fread(void *data, size_t size, size_t count, int file)
{
    const size_t wanted = size * count;
    size_t got = 0;
    while (got < wanted) {
        const intptr_t block[] = {handle(file), (intptr_t)data + (intptr_t)got,
                                  (intptr_t)(wanted - got)};
        const intptr_t left = request(SYS_READ, block);
        if (left < 0 || (size_t)left == wanted - got) break;
        got = wanted - (size_t)left;
    }
    return got / size;
}

size_t fwrite(const void *data, size_t size, size_t count, int file)
{
    const intptr_t block[] = {handle(file), (intptr_t)data, (intptr_t)(size * count)};
    return count - (size_t)request(SYS_WRITE, block) / size;
}

int fprintf(int file, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    for (; *format; format++) {
        if (format[0] == '%' && format[1] == 's') {
            const char *text = va_arg(arguments, const char *);
            fwrite(text, 1, strlen(text), file);
            format++;
        } else {
            fwrite(format, 1, 1, file);
        }
    }
    va_end(arguments);
    return 0;
}

void exit(int code)
{
    const intptr_t block[] = {ADP_STOPPED_APPLICATION_EXIT, code};
    request(SYS_EXIT_EXTENDED, block);
    for (;;) {
    }
}

size_t strlen(const char *text)
{
    const char *end = text;
    while (*end) end++;
    return (size_t)(end - text);
}

int strcmp(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a - *b;
}

void start(void)
{
    static char line[1024];
    char *argv[MOST_ARGUMENTS + 1];
    int argc = 0;
    char *at = line;
    const intptr_t block[] = {(intptr_t)line, sizeof line};
    COPROCESSOR_ACCESS |= 0xFu << 20; /* floats, and vectors where there are any */
    __asm__ volatile("dsb\n\tisb" : : : "memory");
    request(SYS_GET_CMDLINE, block);
    while (*at && argc < MOST_ARGUMENTS) {
        argv[argc++] = at;
        while (*at && *at != ' ') at++;
        while (*at == ' ') *at++ = '\0';
    }
    argv[argc] = 0;
    exit(main(argc, argv));
}
