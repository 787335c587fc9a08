/* Takes the same amount, as many MiB as its last argument says, in each of several functions, one kind
 * of memory in each; then memory without end. None but touch_pages touches a page: a function that a
 * fault interrupts is named by where it stands, its callers by their frames. */
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
/* Below the size from which malloc takes a mapping for each. */
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

/* All of it within one call of the kernel, whose wrapper has no frame: who calls it does not show. */
static void populated(void) { mapped(amount, MAP_PRIVATE | MAP_POPULATE); }

static void by_populate(void) { populated(); }

/* Deeper than frames are kept, so it is its own caller. */
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

/* What was its parent's: each page is copied. */
static void in_child(char *memory) { touch_pages(memory, amount); }

static void shared(void) { touch_pages(mapped(amount, MAP_SHARED), amount); }

static void read_block(int file) {
    static char block[BLOCK];
    if (read(file, block, BLOCK) != (ssize_t)BLOCK)
        give_up(DISK);
}

/* The page cache of a disk, which can be reclaimed: what was charged for it counts all the same. */
static void by_file(void) {
    int file = open(DISK, O_RDONLY);
    for (size_t left = amount; left > 0; left -= BLOCK)
        read_block(file);
}

static void until_killed(void) {
    for (;;)
        touch_pages(mapped(MIB, MAP_PRIVATE), MIB);
}

/* Waits until the child has written. It lives as long as this process does. */
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
    /* A thread takes the limit for its own stack. */
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
