/* Allocates in functions that a stack must name (the last argument, MiB), then sleeps. With -DMADE the
 * loop is machine code that was made at run time, which a perf map names. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096
#define CALLED __attribute__((noinline, noclone))
/* An instruction after a call. Without it the call would be a jump, and not in the stack. */
#define BEHIND __asm__ volatile("" ::: "memory")

#ifdef MADE
/* begin: movb $1, (%rdi); add $4096, %rdi; dec %rsi; jne begin; ret */
static const unsigned char code[] = {0xc6, 0x07, 0x01, 0x48, 0x81, 0xc7, 0x00, 0x10, 0x00, 0x00,
                                     0x48, 0xff, 0xce, 0x75, 0xf1, 0xc3};

static void grow(char *memory, size_t bytes) {
    char name[64];
    void *made = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(made, code, sizeof code);
    mprotect(made, PAGE, PROT_READ | PROT_EXEC);
    snprintf(name, sizeof name, "/tmp/perf-%d.map", getpid());
    FILE *map = fopen(name, "w");
    fprintf(map, "%lx %zx made_at_run_time\n", (unsigned long)made, sizeof code);
    fclose(map);
    ((void (*)(char *, size_t))made)(memory, bytes / PAGE);
}
#else
CALLED void grow_in_c(volatile char *memory, size_t bytes) {
    for (size_t at = 0; at < bytes; at += PAGE)
        memory[at] = 1;
}

CALLED void outer_in_c(char *memory, size_t bytes) {
    grow_in_c(memory, bytes);
    BEHIND;
}

static void grow(char *memory, size_t bytes) { outer_in_c(memory, bytes); }
#endif

CALLED void rest_in_c(void) {
    for (;;) {
#ifdef __x86_64__
        long number = SYS_pause;
        __asm__ volatile("syscall" : "+a"(number) : : "rcx", "r11", "memory");
#else
        pause();
#endif
    }
}

int main(int argc, char **argv) {
    size_t bytes = (size_t)atoi(argv[argc - 1]) << 20;
    grow(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), bytes);
    BEHIND;
    puts("ready");
    fflush(stdout);
    rest_in_c();
    BEHIND;
}
