// Allocates in functions whose names must be demangled (the last argument, MiB), then sleeps.
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>

namespace leaking {

constexpr std::size_t PAGE = 4096;

template <typename Word> struct Leak {
    volatile Word *memory;

    __attribute__((noinline)) void grow(std::size_t bytes) {
        for (std::size_t at = 0; at < bytes / sizeof(Word); at += PAGE / sizeof(Word))
            memory[at] = 1;
    }
};

__attribute__((noinline)) void outer(void *memory, std::size_t bytes) {
    Leak<int>{static_cast<volatile int *>(memory)}.grow(bytes);
    // An instruction after a call. Without it the call would be a jump, and not in the stack.
    __asm__ volatile("" ::: "memory");
}

} // namespace leaking

int main(int argc, char **argv) {
    std::size_t bytes = static_cast<std::size_t>(std::atoi(argv[argc - 1])) << 20;
    leaking::outer(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), bytes);
    std::puts("ready");
    std::fflush(stdout);
    for (;;)
        pause();
}
