/* Allocates the same amount (the last argument, MiB) in each of several functions, each another kind
 * of memory. Then it allocates without end. Only touch_pages touches pages: the instruction pointer
 * names the function that faults, and frame pointers name its callers. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define PAGE 4096
/* Less than the size from which malloc makes a mapping for each block. */
#define BLOCK ((size_t)64 << 10)
#define MIB ((size_t)1 << 20)
#define DISK "/dev/nvme0n1"

static size_t amount;

static void give_up(const char *what) {
    perror(what);
    exit(1);
}

static void *mapped(size_t bytes, int flags) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        give_up("mmap");
    return memory;
}

static void touch_pages(volatile char *memory, size_t bytes) {
    for (size_t at = 0; at < bytes; at += PAGE)
        memory[at] = 1;
}

/* The heap: malloc moves the break. */
static void by_malloc(void) {
    for (size_t left = amount; left > 0; left -= BLOCK)
        touch_pages(malloc(BLOCK), BLOCK);
}

static char *by_mmap(void) {
    char *memory = mapped(amount, MAP_PRIVATE);
    touch_pages(memory, amount);
    return memory;
}

/* The kernel charges all of it within one system call. Its wrapper has no frame, so its caller is not
 * in the stack. */
static void populated(void) { mapped(amount, MAP_PRIVATE | MAP_POPULATE); }

static void by_populate(void) { populated(); }

/* Deeper than the recorded frames, so every recorded caller is this function. */
static void on_stack(size_t left) {
    volatile char frame[BLOCK];
    touch_pages(frame, BLOCK);
    if (left > BLOCK)
        on_stack(left - BLOCK);
}

static void *in_thread(void *memory) {
    touch_pages(memory, amount);
    return NULL;
}

/* The memory of the parent: the kernel copies each page. */
static void in_child(char *memory) { touch_pages(memory, amount); }

static void shared(void) { touch_pages(mapped(amount, MAP_SHARED), amount); }

static void read_block(int file) {
    static char block[BLOCK];
    if (read(file, block, BLOCK) != (ssize_t)BLOCK)
        give_up(DISK);
}

/* The page cache of a disk. It can be reclaimed, but its charges are counted. */
static void by_file(void) {
    int file = open(DISK, O_RDONLY);
    for (size_t left = amount; left > 0; left -= BLOCK)
        read_block(file);
}

static void until_killed(void) {
    for (;;)
        touch_pages(mapped(MIB, MAP_PRIVATE), MIB);
}

/* Waits until the child has written. The child lives as long as this process. */
static void copy_on_write(char *memory) {
    int done[2];
    char byte = 0;
    if (pipe(done) != 0)
        give_up("pipe");
    pid_t child = fork();
    if (child < 0)
        give_up("fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        in_child(memory);
        if (write(done[1], &byte, 1) != 1)
            give_up("write");
        for (;;)
            pause();
    }
    if (read(done[0], &byte, 1) != 1)
        give_up("the child");
}

int main(int argc, char **argv) {
    amount = (size_t)atoi(argv[argc - 1]) * MIB;
    struct rlimit stack;
    getrlimit(RLIMIT_STACK, &stack);
    stack.rlim_cur = amount + 8 * MIB;
    if (setrlimit(RLIMIT_STACK, &stack) != 0)
        give_up("setrlimit");
    /* The limit would be the size of each thread's stack. */
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 4 * BLOCK);
    by_file();
    copy_on_write(by_mmap());
    by_malloc();
    by_populate();
    on_stack(amount);
    shared();
    pthread_t thread;
    if (pthread_create(&thread, &small, in_thread, mapped(amount, MAP_PRIVATE)) != 0)
        give_up("pthread_create");
    pthread_join(thread, NULL);
    puts("ready");
    fflush(stdout);
    until_killed();
}
