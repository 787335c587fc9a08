/* Does an everyday operation many times and prints what each one took, in ticks of the TSC. In a
 * virtual machine whose clock counts instructions, a tick is an instruction.
 *
 * Usage: everyday signal|cgroup|fork|exec|thread|fault COUNT [DIRECTORY]
 *
 * The program rests before each operation, so that the kernel has finished deferred work and that
 * work is not part of the next operation. */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define PAGES 256
#define PAGE 4096L

static char *self;
static char *directory;
static pid_t own_pid;
static volatile sig_atomic_t handled;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void handle(int number) {
    (void)number;
    handled = handled + 1;
}

static void send_signal(void) {
    sig_atomic_t before = handled;
    if (kill(own_pid, SIGUSR1) != 0 || handled == before)
        fail("signal");
}

static void make_cgroup(void) {
    if (mkdir(directory, 0755) != 0 || rmdir(directory) != 0)
        fail(directory);
}

static void await(pid_t child) {
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        fail("child");
}

static void fork_child(void) {
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    await(child);
}

static void execute(void) {
    pid_t child = vfork();
    if (child == 0) {
        /* Without arguments the program ends at once. */
        execl(self, self, (char *)NULL);
        _exit(1);
    }
    await(child);
}

static void *nothing(void *argument) { return argument; }

static void start_thread(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, nothing, NULL) != 0 || pthread_join(thread, NULL) != 0)
        fail("thread");
}

static volatile char *memory;

static void map_memory(void) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    void *mapped = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (mapped == MAP_FAILED || madvise(mapped, PAGES * PAGE, MADV_NOHUGEPAGE) != 0)
        fail("memory");
    memory = mapped;
}

static void touch_memory(void) {
    for (long page = 0; page < PAGES; page++)
        memory[page * PAGE] = 1;
}

static void unmap_memory(void) {
    if (munmap((void *)memory, PAGES * PAGE) != 0)
        fail("memory");
}

static void none(void) {}

static const struct {
    const char *name;
    void (*before)(void);
    void (*run)(void);
    void (*after)(void);
} OPERATIONS[] = {
    {"signal", none, send_signal, none},
    {"cgroup", none, make_cgroup, none},
    {"fork", none, fork_child, none},
    {"exec", none, execute, none},
    {"thread", none, start_thread, none},
    {"fault", map_memory, touch_memory, unmap_memory},
};

int main(int count, char **words) {
    const struct timespec rest = {.tv_nsec = 1000000};
    if (count < 3)
        return 0;
    self = words[0];
    directory = words[count - 1];
    own_pid = getpid();
    signal(SIGUSR1, handle);
    for (size_t row = 0; row < sizeof(OPERATIONS) / sizeof(OPERATIONS[0]); row++) {
        if (strcmp(words[1], OPERATIONS[row].name) != 0)
            continue;
        for (long left = atol(words[2]); left > 0; left--) {
            OPERATIONS[row].before();
            nanosleep(&rest, NULL);
            uint64_t begin = __rdtsc();
            OPERATIONS[row].run();
            uint64_t end = __rdtsc();
            OPERATIONS[row].after();
            printf("%llu\n", (unsigned long long)(end - begin));
        }
        return fflush(stdout) == 0 ? 0 : 1;
    }
    fprintf(stderr, "no such operation: %s\n", words[1]);
    return 1;
}
