//! Allocates in a function that a stack must name (the last argument, MiB), then sleeps.

#[inline(never)]
fn grow_in_rust(memory: &mut [u8]) {
    for byte in memory.iter_mut().step_by(4096) {
        *byte = std::hint::black_box(1);
    }
}

fn main() {
    let mib: usize = std::env::args().next_back().and_then(|mib| mib.parse().ok()).unwrap_or(0);
    // The kernel zeroes the memory when it is touched.
    let mut memory = vec![0_u8; mib << 20];
    grow_in_rust(&mut memory);
    println!("ready");
    loop {
        std::thread::park();
        std::hint::black_box(&memory);
    }
}
