// Allocates the same amount (the last argument, MiB) in each of several functions, then without end.
// See alloc_fixed.c.
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace alloc_fixed {

constexpr std::size_t page = 4096;
// Less than the size from which malloc makes a mapping for each block.
constexpr std::size_t block = 64 << 10;
constexpr std::size_t mib = 1 << 20;

void touch_pages(volatile char *memory, std::size_t bytes) {
    for (std::size_t at = 0; at < bytes; at += page)
        memory[at] = 1;
}

void by_new(std::size_t bytes) {
    for (std::size_t left = bytes; left > 0; left -= block)
        touch_pages(new char[block], block);
}

// The library fills the memory that it allocates.
void by_vector(std::size_t bytes) { new std::vector<char>(bytes); }

template <typename T> void by_template(std::size_t bytes) {
    touch_pages(reinterpret_cast<char *>(new T[bytes / sizeof(T)]), bytes);
}

struct Worker {
    std::size_t bytes;
    void in_method() const { touch_pages(new char[bytes], bytes); }
};

// The blocks are large, because malloc touches the first page of each.
void until_killed() {
    for (;;)
        touch_pages(new char[8 * mib], 8 * mib);
}

} // namespace alloc_fixed

int main(int argc, char **argv) {
    const std::size_t bytes = std::stoul(argv[argc - 1]) * alloc_fixed::mib;
    alloc_fixed::by_new(bytes);
    alloc_fixed::by_vector(bytes);
    alloc_fixed::by_template<double>(bytes);
    const alloc_fixed::Worker worker{bytes};
    std::thread thread(&alloc_fixed::Worker::in_method, &worker);
    thread.join();
    std::puts("ready");
    std::fflush(stdout);
    alloc_fixed::until_killed();
}
